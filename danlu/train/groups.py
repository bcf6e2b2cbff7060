"""Who gets what: the groups of an experiment's optimizer, without running or allocating it."""

from __future__ import annotations

from typing import Any

from danlu import spec
from danlu.optim.build import assign
from danlu.train.assemble import outline, outlined
from danlu.train.plan import updates_of


def report(experiment: spec.Experiment, vocabulary: int | None = None) -> list[dict[str, Any]]:
    """The parameters of ``experiment`` with a tokenizer of ``vocabulary`` ids (left out: as far as known
    before the data is prepared), those that differ by the layer alone in one row.

    A row is one of ``danlu.optim.build.Assignments.rows``. Raises ``SpecError`` as ``danlu.optim.assign``.
    """
    _, model, _, _ = outline(experiment, outlined(experiment, vocabulary))
    return assign(experiment.optimizer, model, updates_of(experiment)).rows()
