"""How far a model of maximum entropy is from its optimum."""

from __future__ import annotations

from danlu.lab.errors import LabError
from danlu.lab.measures.trained import Trained
from danlu.objectives import MaximumEntropy

LEAST = 1e-12  # nats: rounding, which has no logarithm worth telling


def above_optimum(run: Trained) -> float:
    """The training loss, with smoothing, minus its least, which L-BFGS finds; ``LEAST`` where that is less.
    Raises ``LabError`` for another objective, and where there is no optimum."""
    from danlu.maxent import fit

    objective = run.objective
    if not isinstance(objective, MaximumEntropy):
        raise LabError(
            f"{run.folder} has the objective {run.experiment.objective.kind}, whose least loss is not known; "
            "take a run with objective.kind = maxent"
        )
    best = fit(objective.problem)
    if best.ending == "separable":
        raise LabError(f"{run.folder}: its data are separable, and the loss has no least value; smooth them")
    return max(objective.judge(run.run.model)["train_nats"] - best.found.nll, LEAST)
