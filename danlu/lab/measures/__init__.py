"""What is measured of a run that has ended.

names (what there is, and how it is written) · record (read off the run's files, no torch) · trained (a run's
weights and its held-out examples) · text, choices, inside, sinks, weights, stretch, latent, optimum (measured
of these).

``measure(name, metrics)`` finds one; ``of_run(folder, names)`` takes several of a run; ``value(outcome,
name)`` is one number of an ended job.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from danlu.lab.errors import LabError
from danlu.lab.measures.names import MEASURES, READ, Measure, measure
from danlu.lab.measures.record import Record
from danlu.train.folder import is_foreign

if TYPE_CHECKING:
    from danlu.lab.measures.trained import Trained
    from danlu.lab.queue import Outcome

__all__ = ["MEASURES", "READ", "Measure", "measure", "of_run", "value"]


def of_run(folder: Path, names: Sequence[str]) -> dict[str, float]:
    """The measures ``names`` of the finished run in ``folder``, by the names as given; of a model in a folder
    of transformers' those that its weights have.

    Those of the trained model load its last weights, with PyTorch. Raises ``LabError`` for a name that is
    none and for what the run has nothing of, ``RunError`` for a folder that holds no finished run.
    """
    record, trained = Record(folder), None
    if is_foreign(folder):
        trained = _trained(folder)
    else:
        record.folder.check()
    metrics = record.metrics if trained is None else trained.experiment.objective.metrics
    wanted = [measure(name, metrics) for name in names]
    found = {}
    for one in wanted:
        if one.reads:
            found[one.name] = one.take(record)
        else:
            trained = trained or _trained(folder)
            found[one.name] = one.take(trained)
    return found


def _trained(folder: Path) -> Trained:
    from danlu.lab.measures.trained import Trained

    return Trained(folder)


def value(outcome: Outcome, name: str) -> float:
    """The measure ``name`` of an ended job; NaN where its run did not finish, as when it diverged.

    Raises ``LabError`` if the job did not ask for a measure that only the worker could take.
    """
    wanted = measure(name, outcome.job.experiment.objective.metrics)
    if outcome.summary is None:
        return math.nan
    if wanted.reads:
        return wanted.take(Record(outcome.folder))
    if name not in outcome.measures:
        raise LabError(f"{outcome.folder} was not measured for {name}; name it in the job's measures")
    return outcome.measures[name]
