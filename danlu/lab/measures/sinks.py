"""Measures of attention sinks on Bigram-Backcopy, where it is known which positions need attention at all."""

from __future__ import annotations

import torch

from danlu.inspection.attending import first_weights, later_half
from danlu.lab.errors import LabError
from danlu.lab.measures.trained import Trained
from danlu.nn.kernels import Attended, watched
from danlu.objectives import BigramBackcopy


def sink_elsewhere(run: Trained) -> float:
    """The attention weight that the first token gets from queries of the later half that are no triggers, and
    so have nothing to look for: mean over them, heads and blocks (Guo et al. 2024, arXiv:2410.13835,
    section 2). Raises ``LabError`` for other objectives."""
    return _to_first(run, at_triggers=False)


def sink_at_triggers(run: Trained) -> float:
    """The same of the queries that are triggers, which must look at the token before them."""
    return _to_first(run, at_triggers=True)


def _to_first(run: Trained, *, at_triggers: bool) -> float:
    objective = run.objective
    if not isinstance(objective, BigramBackcopy):
        raise LabError(
            f"{run.folder} has the objective {run.experiment.objective.kind}, where no token is a trigger; "
            "take a run of bigram-backcopy, or the measure attention-to-first"
        )
    copied = objective.copies(torch.from_numpy(run.sample["tokens"]))
    asked = (copied if at_triggers else ~copied)[:, objective.context // 2 :]
    found: list[float] = []

    def watch(call: Attended) -> None:
        found.append(float(later_half(first_weights(call)[..., 0]).transpose(0, 1)[:, asked].mean()))

    with watched(watch):
        run.forward(run.run.model, run.sample)
    if not found:
        raise LabError(f"{run.folder} has no attention that gives weights to single positions")
    return sum(found) / len(found)
