"""Metrics: what a number of a run is called, its unit, and which direction is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from danlu.spec.errors import SpecError


@dataclass(frozen=True)
class Metric:
    """A number that an objective reports of held-out examples.

    ``name``: its key in metrics.jsonl and summary.json; ``unit``: printed behind a value, may be empty;
    ``better``: which direction is better; ``text``: one sentence for a reader; ``judges``: whether it says
    which of two networks is better, as a loss does not whose least value differs between them.
    """

    name: str
    unit: str
    better: Literal["lower", "higher"]
    text: str = ""
    judges: bool = True

    @property
    def sign(self) -> int:
        """1 where lower is better, −1 where higher is: ``sign * value`` is a cost."""
        return 1 if self.better == "lower" else -1

    @property
    def error(self) -> str:
        """The name of its standard error, beside its own where one is known."""
        return f"{self.name}_error"

    @property
    def words(self) -> str:
        """The name as written in a sentence: "bits per byte"."""
        return self.name.replace("_", " ")

    def improves(self, value: float, on: float) -> bool:
        """Whether ``value`` is better than ``on``; any number is better than NaN."""
        if value != value or on != on:
            return value == value
        return self.sign * value < self.sign * on

    def format(self, value: float) -> str:
        """The value with its unit, four places: "2.2330 bits/byte"."""
        return f"{value:.4f} {self.unit}".rstrip()

    def record(self, value: float | None = None, error: float | None = None) -> dict[str, Any]:
        """As summary.json keeps it: name, value, unit, better; and its standard error, where it has one."""
        found = {"name": self.name, "value": value, "unit": self.unit, "better": self.better}
        return found if error is None else found | {"error": error}

    @classmethod
    def read(cls, recorded: Mapping[str, Any]) -> Metric:
        """What ``record`` wrote. Runs of before danlu 0.4 name the metric alone: it is bits per byte, where
        lower is better."""
        unit = "bits/byte" if recorded["name"] == "bits_per_byte" else ""
        return cls(recorded["name"], recorded.get("unit", unit), recorded.get("better", "lower"))


def loss_of(metrics: Sequence[Metric]) -> Metric:
    """The one that is the held-out loss itself, of which scaling laws speak: the last of an objective's
    metrics where lower is better. Raises ``SpecError`` where there is none."""
    found = [metric for metric in metrics if metric.better == "lower"]
    if not found:
        names = ", ".join(metric.name for metric in metrics)
        raise SpecError(f"of the objective's metrics ({names}) none is a loss, of which lower is better")
    return found[-1]


Judge = Literal["energy", "frechet", "sliced", "w2", "mmd"]

# How far samples are from data, by the name that an objective's ``judge`` has.
DISTANCES: dict[Judge, Metric] = {
    "energy": Metric(
        "energy_distance", "", "lower", "energy distance of samples from held-out data, without bias"
    ),
    "frechet": Metric(
        "frechet_distance", "", "lower", "Fréchet distance of features of samples from those of all data"
    ),
    "sliced": Metric(
        "sliced_w2", "", "lower", "sliced W₂ of samples and held-out data, on 100 lines; biased up"
    ),
    "w2": Metric("w2", "", "lower", "W₂ of as many samples and held-out data, by assignment; biased up"),
    "mmd": Metric(
        "mmd", "", "lower", "MMD² of samples and held-out data, kernels as wide as 1/4, 1 and 4, without bias"
    ),
}
MOST_ASSIGNED = 5_000  # samples that W₂ takes: its time grows with their cube


class Sampled(Protocol):
    """A specification whose ``samples`` are judged."""

    judge: Judge
    samples: int


S = TypeVar("S", bound=Sampled)


def check_judge(spec: S) -> S:
    """A validator. Raises ``ValueError`` where there are too many samples for what judges them."""
    if spec.judge == "w2" and spec.samples > MOST_ASSIGNED:
        raise ValueError(
            f"samples = {spec.samples} are too many for judge = w2, which pairs each with one of the data; "
            f"allowed: at most {MOST_ASSIGNED}, or judge = sliced"
        )
    return spec
