"""Depth compared: what one update changes, over numbers of layers, for ideas beside each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from danlu.lab.errors import LabError
from danlu.lab.trial.arms import read_idea
from danlu.lab.trial.question import plain
from danlu.spec import resolve

if TYPE_CHECKING:
    from danlu.spec import Experiment
    from danlu.train.depth import Depth, Update

AS_IT_IS = "as it is"
LARGEST = 10_000  # layers
UPDATES: tuple[Update, ...] = ("sign", "gradient")


@dataclass(frozen=True)
class Arm:
    """The experiment with one idea, at every depth. ``name``: the idea's, or ``AS_IT_IS``."""

    name: str
    found: tuple[Depth, ...]

    @property
    def line(self) -> tuple[float, float] | None:
        """p and c of the change c·layersᵖ, by least squares of logarithms over the depths where it is of the
        first order; None where these are fewer than two."""
        points = [(one.layers, one.change) for one in self.found if one.linear]
        if len(points) < 2:
            return None
        layers, changes = np.log(points).T
        power, log = np.polyfit(layers, changes, 1)
        return float(power), float(np.exp(log))

    @property
    def slope(self) -> float | None:
        """The power of the depth by which the change grows."""
        return None if self.line is None else self.line[0]

    @property
    def warnings(self) -> list[str]:
        """Where the change is not of the first order."""
        return [
            f"{self.name}, {one.layers} layers: half of the step makes {_share(one)} of the change and not "
            "half; take a smaller --step"
            for one in self.found
            if not one.linear
        ]

    def json(self) -> dict[str, Any]:
        depths = [{**asdict(one), "linear": one.linear} for one in self.found]
        return {"name": self.name, "slope": self.slope, "depths": depths}


def depths(
    words: Sequence[str],
    layers: Sequence[int],
    ideas: Sequence[str] = (),
    *,
    step: float = 1e-6,
    update: str = "sign",
    progress: Callable[[str], None] = lambda text: None,
) -> list[Arm]:
    """The experiment of ``words`` and, beside it, the same with each of ``ideas`` (as ``danlu try`` takes
    them), at every number of ``layers``; the rest as ``danlu.train.depth.depth`` says. Raises ``LabError``
    for settings that measure nothing, ``SpecError`` for words that are no experiment."""
    along = _checked(layers, step, update)
    every = [AS_IT_IS, *plain(ideas)]
    planned = {name: [_at(words, n, name) for n in layers] for name in every}
    from danlu.train.depth import depth

    arms = []
    for name, experiments in planned.items():
        found = []
        for n, experiment in zip(layers, experiments, strict=True):
            progress(f"{name}, {n} layers")
            found.append(depth(experiment, step, along))
        arms.append(Arm(name, tuple(found)))
    return arms


def numbers(text: str) -> list[int]:
    """``4,16,64`` as numbers. Raises ``LabError`` for anything else."""
    try:
        return [int(one) for one in text.split(",")]
    except ValueError:
        raise LabError(f"--layers = {text!r}; allowed: numbers with commas, such as 4,16,64") from None


def _at(words: Sequence[str], layers: int, idea: str) -> Experiment:
    more = () if idea == AS_IT_IS else read_idea(idea).words
    experiment = resolve([*words, f"model.layers={layers}", *more])
    if getattr(experiment.model, "layers", None) != layers:
        raise LabError(f"{idea}: the experiment keeps its own number of layers; leave {idea} out")
    return experiment


def _checked(layers: Sequence[int], step: float, update: str) -> Update:
    """``update``, once it and the rest are known to be right."""
    if len(set(layers)) < 2 or not all(1 <= n <= LARGEST for n in layers):
        said = ",".join(map(str, layers))
        raise LabError(f"--layers = {said!r}; allowed: two or more different numbers from 1 to {LARGEST:,}")
    if not (math.isfinite(step) and step > 0):
        raise LabError(f"--step = {step}; allowed: a number above 0, such as 1e-6")
    for known in UPDATES:
        if update == known:
            return known
    raise LabError(f"--update = {update!r}; allowed: {', '.join(UPDATES)}")


def _share(one: Depth) -> str:
    return f"{one.half / one.change:.2g}" if one.change else "none"


def table(arms: Sequence[Arm]) -> list[list[str]]:
    """A row for each arm and depth, under a heading."""
    rows = [["", "layers", "change", "gradient, first", "and last", "stream", "cosine", "χ, last"]]
    for arm in arms:
        for one in arm.found:
            mark = "" if one.linear else " !"
            rows.append([
                arm.name, str(one.layers), f"{one.change:.3g}{mark}", f"{one.gradient[0]:.3g}",
                f"{one.gradient[-1]:.3g}", f"{one.stream[-1]:.3g}", f"{one.cosine[-1]:.3f}",
                f"{one.gain[-1]:.3g}",
            ])  # fmt: skip
    return rows


def slopes(arms: Sequence[Arm]) -> list[list[str]]:
    """How the change grows with depth, an arm a row."""
    rows = [["", "the change grows as layers to the power"]]
    return [*rows, *([arm.name, "unknown" if arm.slope is None else f"{arm.slope:.2f}"] for arm in arms)]
