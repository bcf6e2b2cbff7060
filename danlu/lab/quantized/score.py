"""What rounding costs on held-out examples, in pairs: both networks read the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn as nn
from torch import Tensor

from danlu import spec
from danlu.curvature import jackknife
from danlu.inspection.watching import outputs
from danlu.nn import tell_rows
from danlu.objectives import IGNORED, HeldOut, Language, Objective
from danlu.train.evaluate import evaluation_rows
from danlu.train.parallel import ALONE
from danlu.train.update import to_device

PASSES = 16  # at least, where there are so many examples: the standard error is of passes
NUMBERS = 2**25  # logits of one pass

Sums = dict[str, float]


@dataclass(frozen=True)
class Score:
    """The first metric ``before`` and ``after``; ``delta``, after − before, and its standard ``error`` by the
    jackknife over ``passes`` of examples (NaN for one pass). Of text also ``kl``, the mean over predicted
    tokens of KL(p ‖ p_q) in nats, and ``flips``, the share of them whose likeliest token is another."""

    before: float
    after: float
    delta: float
    error: float
    passes: int
    kl: float | None = None
    flips: float | None = None


@torch.no_grad()
def compare(
    exact: nn.Module,
    rounded: nn.Module,
    objective: Objective,
    experiment: spec.Experiment,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Score:
    """Both networks, in ``eval`` mode, on the held-out examples that the experiment is evaluated on."""
    held_out = objective.held_out(experiment.train.evaluate_tokens)
    rows = _rows(experiment, objective, held_out)
    passes: list[tuple[Sums, Sums]] = []
    kl, flips, tokens = 0.0, 0, 0
    for start in range(0, held_out.count, rows):
        places = range(start, min(start + rows, held_out.count))
        example = to_device(held_out.example(places, None), ALONE.device)
        sums: list[Sums] = []
        p, q = (
            outputs([model], partial(_score, objective, model, example, sums)) for model in (exact, rounded)
        )
        passes.append((sums[0], sums[1]))
        if isinstance(objective, Language):
            there = example["targets"] != IGNORED
            one, other = p[0][there].log_softmax(-1), q[0][there].log_softmax(-1)
            kl += float((one.exp() * (one - other)).sum(-1).double().sum())
            flips += int((one.argmax(-1) != other.argmax(-1)).sum())
            tokens += int(there.sum())
        progress(len(passes), math.ceil(held_out.count / rows))
    name = experiment.objective.metrics[0].name

    def metric(sums: list[Sums]) -> float:
        together = {key: math.fsum(one[key] for one in sums) for key in sums[0]}
        return float(objective.measure(together)[name])

    before, after = (metric([pair[i] for pair in passes]) for i in (0, 1))
    without = []
    for left in range(len(passes) if len(passes) > 1 else 0):
        rest = passes[:left] + passes[left + 1 :]
        without.append(metric([b for _, b in rest]) - metric([a for a, _ in rest]))
    return Score(
        before,
        after,
        after - before,
        jackknife(without),
        len(passes),
        kl / tokens if tokens else None,
        flips / tokens if tokens else None,
    )


def _rows(experiment: spec.Experiment, objective: Objective, held_out: HeldOut) -> int:
    """Examples in one pass."""
    rows = min(evaluation_rows(experiment, objective), math.ceil(held_out.count / PASSES))
    if isinstance(objective, Language):
        rows = min(rows, NUMBERS // (objective.size * objective.vocabulary))
    return max(rows, 1)


def _score(objective: Objective, model: nn.Module, example: dict[str, Tensor], found: list[Sums]) -> None:
    count = len(next(iter(example.values())))
    tell_rows(model, "row_weights", lambda: torch.ones(count))
    found.append({name: float(value) for name, value in objective.score(model, example).items()})
