"""Measures of the curvature of the loss, at the last weights, on the batch of training that comes next."""

from __future__ import annotations

from danlu.lab.errors import LabError
from danlu.lab.measures.trained import Trained
from danlu.train.curvature import Curved, edge, sparsity


def at_the_edge(run: Trained) -> float:
    """The largest eigenvalue of √D H √D, D the rates of the last update, over the value beyond which the rule
    diverges on a quadratic (``danlu.train.curvature.stability``). Raises ``LabError`` for a rule of which
    none is known."""
    found = edge(Curved(run.folder))
    if found is None:
        raise LabError(
            f"{run.folder} was trained by {run.experiment.optimizer.kind}, whose edge of stability is "
            "unknown; take a run with optimizer = sgd, adam or adamw"
        )
    return found.value / found.threshold


def nonzeros_of_loss(run: Trained) -> float:
    """The share of the second derivatives of the loss that are not exactly zero, by random columns."""
    return 1 - float(sparsity(Curved(run.folder))["loss"]["whole"])


def nonzeros_of_output(run: Trained) -> float:
    """The same of one number of the output for one example."""
    return 1 - float(sparsity(Curved(run.folder))["logit"]["whole"])
