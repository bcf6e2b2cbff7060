"""Measures of how much a trained network can stretch: its Lipschitz constant, from above and from below."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch

from danlu.lab.errors import LabError
from danlu.lab.measures.trained import Trained
from danlu.models import Model
from danlu.nn import Attention, CrossAttention, LatentAttention, VQAttention, lipschitz
from danlu.objectives import Fit

ATTENTION = Attention, CrossAttention, LatentAttention, VQAttention
STEPS = 30  # of power iteration, at each point


def lipschitz_above(run: Trained) -> float:
    """A number that the constant does not exceed: the product of what the layers can do, which is often far
    too large. Raises ``LabError`` for a network that has none, as with dot-product attention."""
    model = _exact(run)
    try:
        return lipschitz.upper_bound(model)
    except ValueError as error:
        raise LabError(f"{run.folder}: {error}") from None


def lipschitz_below(run: Trained) -> float:
    """The largest stretch ‖J‖₂ that is found at the points of the signal, seen or not. Raises ``LabError``
    for a network that is none of coordinates."""
    model, source = _exact(run), run.objective
    if not isinstance(source, Fit):
        raise LabError(
            f"{run.folder} has the objective {run.experiment.objective.kind}: this is measured at the points "
            "of a signal; take a run with objective.kind = fit"
        )
    points = torch.from_numpy(source.source.whole.coordinates).double()
    return float(lipschitz.lower_bound(model, points, STEPS).max())


def _exact(run: Trained) -> Any:
    """The model, in float64."""
    model: Model = run.run.model
    if any(isinstance(module, ATTENTION) for module in model.modules()):
        raise LabError(
            f"{run.folder} has dot-product attention, for which there is no Lipschitz constant (Kim et al. "
            "2021, theorem 3.1); take a run with objective.kind = fit"
        )
    exact = deepcopy(model).double()
    exact.compute = torch.float64
    return exact
