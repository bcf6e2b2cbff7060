"""Which rows are not independent: those of one run, or of one size of model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.laws.base import Array
from danlu.laws.doubt import FEW
from danlu.laws.errors import Warned
from danlu.laws.table import Points, same_size

# Columns that name a run, whatever the case.
RUNS = ("run", "run_name", "run_id", "runid", "run name", "exp_name", "experiment_name", "model_name", "name")
NONE = "none"  # the name of a cluster that asks for none


@dataclass(frozen=True)
class Dependence:
    """``cluster``: the column by whose values rows belong together, None where each stands for itself.
    ``labels``: (points,), 0 …; ``text``: the same in a sentence; ``warned``: what is wrong with it."""

    cluster: str | None
    labels: NDArray[np.int64] | None
    text: str
    warned: Warned | None = None


def asked(name: str, labels: Array) -> Dependence:
    """Rows belong together by a column that was asked for."""
    found = np.unique(labels, return_inverse=True)[1]
    groups = int(found.max()) + 1
    return Dependence(name, found, f"{len(found)} rows of {groups} values of {name} are drawn together")


def none() -> Dependence:
    """Each row for itself, as was asked for."""
    return Dependence(None, None, "each row is drawn by itself, as was asked for")


def found(points: Points, table: Mapping[str, Sequence[Any]], free: int) -> Dependence:
    """By a column of the file that names runs, else by size where sizes repeat with other data.

    ``table``: the file's columns; ``free``: how many parameters are fitted. Where there are too few clusters
    to tell how far that many parameters scatter, rows are drawn by themselves and a warning says so.
    """
    for name, values in table.items():
        if name.strip().lower() in RUNS and (one := _run(name, values, points.size)) is not None:
            return _enough(one, points.size, free, "run")
    sizes = same_size(points["n"]) if "n" in points else np.arange(points.size)
    groups = int(sizes.max()) + 1
    if groups > points.size / 1.5:
        return Dependence(None, None, "no rows share a run or a size: each is drawn by itself")
    return _enough(Dependence("n", sizes, ""), points.size, free, "size")


def _run(name: str, values: Sequence[Any], size: int) -> Dependence | None:
    texts = ["" if value is None else str(value) for value in values]
    if "" in texts:
        return None
    labels = np.unique(texts, return_inverse=True)[1]
    return Dependence(name, labels, "") if 1 < int(labels.max()) + 1 < size else None


def _enough(one: Dependence, size: int, free: int, what: str) -> Dependence:
    assert one.labels is not None
    groups = int(one.labels.max()) + 1
    shared = f"{size} rows share {groups} {what}{'s' * (groups != 1)} (column {one.cluster})"
    if groups < (least := max(FEW, free)):
        text = f"{shared}, too few to draw by: rows are drawn by themselves"
        said = (
            f"{shared}, fewer than the {least} that intervals of {free} parameters need: rows are drawn one "
            "by one, and where rows of one are off together, intervals are far too narrow"
        )
        return Dependence(None, None, text, Warned("clusters-ignored", said))
    return Dependence(one.cluster, one.labels, f"{shared}: rows of one are drawn together")
