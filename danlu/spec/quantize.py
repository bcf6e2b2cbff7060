"""Specification of training with weights in few bits; carried out by ``danlu.train.rounding``."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, model_validator

from danlu.spec.base import Fraction, PositiveInt, Spec
from danlu.spec.errors import did_you_mean

SHORT = tuple(f"int{bits}" for bits in range(2, 9))  # "int4" is short for "int4-narrow"
# By ``danlu.quantization.named``.
FORMATS = (
    *(f"int{bits}-{grid}" for bits in range(2, 9) for grid in ("narrow", "full", "unclipped", "affine")),
    "ternary", "int2-stretched", "ternary-stretched", "nf4", "nf4-double", "fp8-e4m3", "fp8-e5m2", "nvfp4",
    "mxfp4", "mxfp4-ceil", "mxfp8-e4m3", "mxfp8-e4m3-ceil", "mxfp8-e5m2", "mxfp8-e5m2-ceil",
)  # fmt: skip
LEARNED = {"lsq": r"int\d-(narrow|full|unclipped)", "paretoq": r"int[34]-full|(int2|ternary)-stretched"}


def full_name(name: str) -> str:
    """The name in ``FORMATS`` that ``name`` is, or is short for. Raises ValueError where there is none."""
    full = f"{name}-narrow" if name in SHORT else name
    if full not in FORMATS:
        hint = did_you_mean(name, (*SHORT, *FORMATS)) or ";"
        raise ValueError(
            f"{name} is no format{hint} allowed: int2 to int8, "
            f"{', '.join(FORMATS[28:])}; of integers also int4-full, int4-unclipped, int4-affine"
        )
    return full


FormatName = Annotated[str, AfterValidator(full_name)]


class Quantize(Spec):
    """Quantisation-aware training: the weights of the linear maps in all blocks are rounded to ``format``
    wherever they are used, those that are trained stay exact, and gradients go straight through (Bengio et
    al. 2013; Jacob et al. 2018).

    ``group``: so many weights, a channel or the tensor share a scale (left out: as the format has it), kept
    in the type ``scale``. ``method``: ``straight-through`` takes scales from the weights; ``lsq`` learns them
    (Esser et al. 2020), ``paretoq`` by the rule that Liu et al. 2025 have for each number of bits.
    ``start``: the share of the run after which it begins; left out, where wsd's decay begins (Apple 2025,
    arXiv:2509.22935), else the last tenth (ParetoQ); 1: the trained weights are rounded at the end.
    ``activations``: a format for what comes into these maps, a scale for each token.
    """

    format: FormatName = "int4-narrow"
    group: PositiveInt | Literal["channel", "tensor"] | None = None
    scale: Literal["float16", "float32"] = "float16"
    method: Literal["straight-through", "lsq", "paretoq"] = "straight-through"
    start: Fraction | None = None
    activations: FormatName | None = None

    @model_validator(mode="after")
    def _learnable(self) -> Self:
        pattern = LEARNED.get(self.method)
        if pattern is not None and not re.fullmatch(pattern, self.format):
            raise ValueError(
                f"method = {self.method} has no rule for format = {self.format}; allowed: "
                f"{', '.join(name for name in FORMATS if re.fullmatch(pattern, name))}"
            )
        return self
