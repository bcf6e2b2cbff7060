"""Which dimensions matter: shares of the variance over the space."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, variance
from typing import TYPE_CHECKING, Any

from danlu.lab.grids import number
from danlu.lab.sweep.analysis import finite
from danlu.lab.sweep.axis import order
from danlu.lab.sweep.trials import Trial

if TYPE_CHECKING:
    import numpy as np

ENOUGH = 20  # trials at random, of whose best tenth two at least can be described


@dataclass(frozen=True)
class Importance:
    """``shares`` by dimension, largest first; on a whole grid also ``pairs`` (what two do together beyond
    what each does) and ``rest`` (three and more), all of which add up to 1. ``noise``: how much of the
    variance is that of the mean over the seeds, where there are several. ``by``: how it was found, or why
    not."""

    by: str
    shares: dict[str, float] = field(default_factory=dict)
    pairs: dict[str, float] = field(default_factory=dict)
    rest: float | None = None
    noise: float | None = None

    def json(self) -> dict[str, Any]:
        return {"by": self.by, "shares": self.shares, "pairs": self.pairs, "rest": self.rest,
                "noise": self.noise}  # fmt: skip


def importance(trials: Sequence[Trial], names: Sequence[str]) -> Importance:
    """Of a whole grid the functional analysis of variance, exactly; of other trials PED-ANOVA (Watanabe,
    Bansal & Hutter 2023) as Optuna has it. What diverged counts as the worst finite value."""
    known = [trial for trial in trials if not math.isnan(trial.cost)]
    gridded = [trial for trial in known if trial.entry.by == "grid"]
    known = gridded if _table(gridded, names) is not None else known
    costs = finite([trial.cost for trial in known])
    spanned = [name for name in names if len({trial.entry.point[name] for trial in known}) > 1]
    if len(set(costs)) < 2 or not spanned:
        return Importance("nothing differs")
    if (table := _table(known, spanned)) is not None:
        return _exact(table, known, spanned)
    if len(known) < ENOUGH:
        return Importance(f"not known: no whole grid, and {len(known)} trials are too few ({ENOUGH} needed)")
    try:
        return _at_random(known, costs, spanned)
    except ModuleNotFoundError:
        return Importance("not known: no whole grid, and Optuna is not installed")


def anova(table: np.ndarray) -> dict[tuple[int, ...], float]:
    """The functional ANOVA of a function on a full grid with equal weights (Hutter, Hoos & Leyton-Brown 2014,
    section 4): the variance of each subset of the axes, beyond that of its own subsets; they add up to the
    variance of the table."""
    axes = range(table.ndim)
    found: dict[tuple[int, ...], float] = {}
    for size in range(1, table.ndim + 1):
        for subset in itertools.combinations(axes, size):
            rest = tuple(axis for axis in axes if axis not in subset)
            below = sum(value for other, value in found.items() if set(other) < set(subset))
            found[subset] = float(table.mean(axis=rest).var()) - below
    return found


def _table(trials: Sequence[Trial], names: Sequence[str]) -> np.ndarray | None:
    """The costs as an array, an axis a dimension; None where they are no whole grid."""
    import numpy as np

    costs = finite([trial.cost for trial in trials])

    values = [sorted({trial.entry.point[name] for trial in trials}, key=order) for name in names]
    shape = [len(axis) for axis in values]
    if not costs or math.prod(shape) != len(trials):
        return None
    table = np.full(shape, np.nan)
    for trial, cost in zip(trials, costs, strict=True):
        place = [axis.index(trial.entry.point[name]) for name, axis in zip(names, values, strict=True)]
        table[tuple(place)] = cost
    return None if np.isnan(table).any() else table


def _exact(table: np.ndarray, trials: Sequence[Trial], names: Sequence[str]) -> Importance:
    total = float(table.var())
    found = {subset: max(value / total, 0.0) for subset, value in anova(table).items()}
    several = [trial.values for trial in trials if len(trial.values) > 1]
    noise = fmean(variance(values) / len(values) for values in several) / total if several else None
    return Importance(
        "functional ANOVA of the whole grid",
        _largest({names[s[0]]: share for s, share in found.items() if len(s) == 1}),
        _largest({f"{names[s[0]]} × {names[s[1]]}": share for s, share in found.items() if len(s) == 2}),
        sum(share for subset, share in found.items() if len(subset) > 2) if table.ndim > 2 else None,
        noise,
    )


def _at_random(trials: Sequence[Trial], costs: Sequence[float], names: Sequence[str]) -> Importance:
    import optuna

    kinds = optuna.distributions
    columns: dict[str, Sequence[Any]] = {}
    distributions: dict[str, Any] = {}
    for name in names:
        texts = [trial.entry.point[name] for trial in trials]
        numbers = [float(found) for text in texts if (found := number(text)) is not None and found > 0]
        if len(numbers) == len(texts):
            columns[name] = numbers
            distributions[name] = kinds.FloatDistribution(min(numbers), max(numbers), log=True)
        else:
            columns[name] = texts
            distributions[name] = kinds.CategoricalDistribution(sorted(set(texts)))
    study = optuna.create_study()
    for i, cost in enumerate(costs):
        params = {name: column[i] for name, column in columns.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=cost))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return Importance("PED-ANOVA: where the best tenth of the trials lie", _largest(shares))


def _largest(shares: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(shares.items(), key=lambda item: -item[1]))
