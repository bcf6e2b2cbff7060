"""Likelihoods of held-out points under a flow, by the change of variables."""

from __future__ import annotations

import numpy as np

from danlu.data.points import Points
from danlu.lab.errors import LabError
from danlu.lab.measures.trained import Trained
from danlu.objectives import Generation

POINTS = 1024  # of the held-out ones, from the first


def nll(run: Trained) -> float:
    """The mean of −ln p, nats. Raises ``LabError`` where the objective has no density, and for images."""
    return float(-_log_likelihood(run).mean())


def above_entropy(run: Trained) -> float:
    """The mean of ln p of the data's law minus ln p of the model: an estimate of the divergence KL(data ‖
    model), which is 0 at best. Raises ``LabError`` where the law is not known."""
    objective = _generation(run)
    if not isinstance(objective.source, Points) or objective.conditional:
        raise LabError(
            f"{run.folder} learns from {objective.source.spec.name}"
            f"{', given their classes' if objective.conditional else ''}, whose density is not known; "
            "measure nll"
        )
    law = objective.source.log_density(objective.source.held_out[0][:POINTS])
    return float((law - _log_likelihood(run)).mean())


def _log_likelihood(run: Trained) -> np.ndarray:
    objective = _generation(run)
    data, classes = (part[:POINTS] for part in objective.source.held_out)
    return objective.log_likelihood(run.run.model, data, classes)


def _generation(run: Trained) -> Generation:
    objective = run.objective
    if not isinstance(objective, Generation):
        raise LabError(
            f"{run.folder} has the objective {run.experiment.objective.kind}: a density is measured of "
            "objectives flow and denoise"
        )
    if len(objective.shape) > 1:
        raise LabError(
            f"{run.folder} learns from images, whose pixels have few levels: a density of them has no bound; "
            "it is measured of points"
        )
    return objective
