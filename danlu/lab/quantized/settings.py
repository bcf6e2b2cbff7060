"""Which format, and by what method."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from danlu.lab.errors import LabError
from danlu.quantization import AWQ, GPTQ, RTN, Format, LeastError, Per, Percentile, named
from danlu.quantization.kept import SCALE_TYPES, of_tokens
from danlu.quantization.trained import Method
from danlu.spec.errors import did_you_mean

PREPARE, ROUND = ("rotate", "smoothquant"), ("rtn", "gptq", "awq")
RANGES = {
    "whole": None, "error": LeastError(), "square": LeastError(power=2.0), "percentile": Percentile()
}  # fmt: skip
Range = Literal["whole", "error", "square", "percentile"]


@dataclass(frozen=True)
class Settings:
    """``format`` of the weights and ``activations`` (None: as they are); ``prepare``, what is done before,
    and ``round``, what rounds; ``ranges``, a key of ``RANGES``; ``alpha`` of SmoothQuant; ``units`` of
    training data that the methods look at, and the ``seed`` of what is random.

    ``of`` reads them from words and raises ``LabError``.
    """

    format: Format
    prepare: tuple[str, ...] = ()
    round: str = "rtn"
    activations: Format | None = None
    ranges: Range = "whole"
    alpha: float = 0.5
    units: int = 16_384
    seed: int = 0

    @classmethod
    def of(
        cls, to: str, by: str = "rtn", group: str | None = None, scale: str = "float16", **more: Any
    ) -> Settings:
        """``to``: a format's name; ``by``: methods joined by ``+``; ``group``: how many weights share a
        scale, or channel, or tensor; ``scale``: the type in which scales of integers are kept;
        ``activations``: a format's name."""
        methods = by.split("+")
        for name in methods:
            if name not in (*PREPARE, *ROUND):
                hint = did_you_mean(name, (*PREPARE, *ROUND)) or "."
                raise LabError(f"--by = {by}: there is no method {name!r}{hint} Known: {_known()}")
        rounds = [name for name in methods if name in ROUND]
        if len(rounds) > 1:
            raise LabError(f"--by = {by} rounds twice; name one of {', '.join(ROUND)}")
        if scale not in SCALE_TYPES:
            raise LabError(f"--scale = {scale} is none of {', '.join(SCALE_TYPES)}")
        activations, what = more.pop("activations", None), f"--to {to}"
        if "smoothquant" in methods and activations is None:
            raise LabError(
                "--by = smoothquant makes activations easier to round at the cost of weights, and the "
                "activations stay as they are; add --activations int8"
            )
        if more.get("ranges", "whole") not in RANGES:
            raise LabError(f"--range = {more['ranges']} is none of {', '.join(RANGES)}")
        if rounds == ["awq"] and more.get("ranges", "whole") != "whole":
            raise LabError(f"--range = {more['ranges']}: awq finds ranges of its own; leave it out")
        try:
            format, what = named(to, _per(group), SCALE_TYPES[scale]), "--activations"
            inputs = None if activations is None else of_tokens(activations)
        except ValueError as error:
            raise LabError(f"{what}: {error}") from None
        return cls(
            format,
            tuple(name for name in PREPARE if name in methods),
            rounds[0] if rounds else "rtn",
            inputs,
            **more,
        )

    @property
    def by(self) -> str:
        """The methods as one word."""
        return "+".join((*self.prepare, self.round))

    @property
    def method(self) -> Method:
        ranges = RANGES[self.ranges]
        methods: dict[str, Method] = {"rtn": RTN(ranges), "gptq": GPTQ(ranges), "awq": AWQ()}
        return methods[self.round]

    @property
    def looks(self) -> bool:
        """Whether it looks at training data."""
        return self.method.looks or "smoothquant" in self.prepare


def _per(group: str | None) -> Per | None:
    if group is None or group in ("channel", "tensor"):
        return group  # type: ignore[return-value]
    if not group.isdecimal() or int(group) < 1:
        raise LabError(_no_group(group, "every map's inputs"))
    return int(group)


def check_group(format: Format, sizes: Iterable[int]) -> None:
    """Raises ``LabError`` where groups do not divide the ``sizes``, the inputs of the maps to be rounded."""
    size = math.gcd(*sizes)
    if isinstance(format.per, int) and size % format.per:
        allowed = ", ".join(str(n) for n in range(1, size + 1) if size % n == 0)
        raise LabError(_no_group(str(format.per), f"every map's inputs: {allowed}"))


def _no_group(group: str, what: str) -> str:
    return f"--group = {group}; allowed: channel, tensor, or a number of weights that divides {what}"


def _known() -> str:
    return f"{', '.join((*PREPARE, *ROUND))}, and two of them joined, as in rotate+gptq"
