"""The sizes at which an idea is tried: the baseline's own, then wider ones at equal tokens a parameter.

Rungs differ in width, and with it in the number of heads, in tokens, batch and updates; depth, the size of a
head and the context stay. Compute grows ``GROWTH`` times from rung to rung as near as whole heads permit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from danlu import spec
from danlu.lab.errors import LabError
from danlu.lab.ladder.shapes import Shapes, resized
from danlu.lab.limits import within
from danlu.lab.statistics.ahead import pairs_at
from danlu.lab.trial.question import PAIRS
from danlu.spec.words import resolve, validate

GROWTH = 4.0  # in compute: twice the parameters and twice the tokens
MOST = 8  # rungs


@dataclass(frozen=True)
class Rung:
    """``baseline``: the experiment there, of ``updates`` updates. ``flops``: of its whole run."""

    level: int
    baseline: spec.Experiment
    parameters: int
    tokens: int
    updates: int
    flops: float

    def pairs(self, seeds: int = PAIRS) -> int:
        """Runs of each side, where the first rung has ``seeds``."""
        return pairs_at(self.level, seeds)

    def variant(self, words: Sequence[str]) -> spec.Experiment:
        """The baseline with an idea's words laid over it. Raises ``SpecError`` where they do not fit."""
        return resolve(["tiny", *words], change=lambda _: self.baseline)

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "level": self.level, "width": self.baseline.network.width, "layers": self.baseline.network.layers,
            "parameters": self.parameters, "tokens": self.tokens, "updates": self.updates,
            "flops": self.flops,
        }  # fmt: skip


def rungs(experiment: spec.Experiment, count: int) -> list[Rung]:
    """``count`` rungs, the first of which is ``experiment`` itself. Raises ``LabError`` where it is bound by
    seconds, or is of images, whose networks are not made wider here."""
    from danlu.data import Dataset, prepare
    from danlu.train.plan import Plan

    within("--rungs", count, MOST, least=2)
    plan = Plan(experiment.train, experiment.data.size)
    if plan.updates is None or experiment.train.ramp:
        raise LabError(
            "rungs are planned in tokens: set train.steps or train.tokens in --on, and no train.ramp"
        )
    source = prepare(experiment.data)
    if not isinstance(source, Dataset):
        raise LabError(f"{experiment.data.kind} is no text; rungs are made of networks on text")
    shapes = Shapes(experiment, source.tokenizer.vocabulary)
    model, first = experiment.network, shapes.recipe
    read = plan.tokens_at(plan.updates)

    def compute(width: int) -> float:
        sized = shapes.at(model.layers, width)
        return float(sized.flops) * sized.parameters

    found = [Rung(0, experiment, first.parameters, round(read), plan.updates, first.flops * read)]
    width = model.width
    for level in range(1, count):
        wanted = compute(model.width) * GROWTH**level
        while compute(width + shapes.unit) < wanted:
            width += shapes.unit
        width = min(
            (w for w in (width, width + shapes.unit) if w > found[-1].baseline.network.width),
            key=lambda w: abs(math.log(compute(w) / wanted)),
        )
        sized = shapes.at(model.layers, width)
        tokens = read * sized.parameters / first.parameters
        batch = max(1, round(experiment.train.batch * math.sqrt(tokens / read)))
        updates = round(tokens / (batch * experiment.data.size))
        tokens = updates * batch * experiment.data.size
        at_rung = _at(experiment, width, batch, updates)
        found.append(Rung(level, at_rung, sized.parameters, tokens, updates, float(sized.flops) * tokens))
    return found


def _at(experiment: spec.Experiment, width: int, batch: int, updates: int) -> spec.Experiment:
    said = experiment.model_dump()
    said["model"] = resized(experiment.network, experiment.network.layers, width).model_dump()
    said["train"] |= {"batch": batch, "microbatch": None, "steps": updates, "tokens": None}
    return validate(said)
