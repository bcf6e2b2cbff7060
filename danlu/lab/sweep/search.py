"""Where to look next: Optuna's samplers, asked and told. Optuna is imported when one is wanted.

The search's state is Optuna's own journal in the study's folder, which optuna-dashboard opens too. Trials
are told in the order in which they were asked, and each proposal has a seed of its own. So a search depends
on its space, its results, how many trials are under way, and on nothing else: killed and gone on with, it is
the same. Where a result is another than it was told (more seeds, edited code, other data, a failed run made
again), it begins anew.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from danlu.files.lock import Lock
from danlu.lab.errors import LabError
from danlu.lab.grids import Dimension, number
from danlu.lab.sweep.carry import Carrier
from danlu.lab.sweep.space import Point, Space, at, digest
from danlu.lab.sweep.trials import Entry
from danlu.spec.errors import either
from danlu.spec.metrics import Metric

SAMPLERS = ("random", "tpe", "qmc", "gp")
JOURNAL = "optuna.journal"


class Proposals:
    """Points proposed by Optuna's sampler ``sampler``: ``tpe`` (Bergstra et al. 2011), ``qmc`` (Sobol'
    sequence), ``gp`` (Gaussian process); of values of ``metric``, lowered or raised as it says."""

    def __init__(self, space: Space, sampler: str, folder: Path, metric: Metric) -> None:
        self._space, self._sampler, self._sign = space, sampler, metric.sign
        self._optuna = _import()
        self._distributions = {one.name: _distribution(self._optuna, one) for one in space.dimensions}
        storage = self._optuna.storages.JournalStorage(_backend(folder.absolute() / JOURNAL))
        # Another range, or another metric, is another search.
        name = f"{sampler}-{metric.name}-{digest(repr(space.dimensions))}"
        direction = "minimize" if metric.better == "lower" else "maximize"
        self._open = partial(
            self._optuna.create_study, storage=storage, study_name=name, load_if_exists=True,
            direction=direction,
        )  # fmt: skip
        self._delete = partial(self._optuna.delete_study, storage=storage, study_name=name)
        self._study = self._open()

    def asked(self) -> list[Point]:
        """The points proposed so far, in order."""
        return [self._point(trial.params) for trial in self._study.get_trials(deepcopy=False)]

    def ask(self) -> Point:
        """One more point."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
            self._study.sampler = self._make(len(self._study.get_trials(deepcopy=False)))
            return self._point(self._study.ask(self._distributions).params)

    def tell(self, number: int, cost: float) -> bool:
        """The cost of the ``number``-th point, from 0: infinite where it diverged, NaN where it failed. False
        where it was told another before."""
        value = None if math.isnan(cost) else self._sign * cost
        trial = self._study.get_trials(deepcopy=False)[number]
        if trial.state.is_finished():
            return bool(trial.value == value)
        self._study.tell(number, value, state=self._optuna.trial.TrialState.FAIL if value is None else None)
        return True

    def begin_anew(self) -> None:
        """Forget every proposal and what was told of it."""
        self._delete()
        self._study = self._open()

    def _make(self, seed: int) -> Any:
        samplers = self._optuna.samplers
        first = samplers.RandomSampler(seed=seed)
        match self._sampler:
            case "tpe":
                return samplers.TPESampler(seed=seed, constant_liar=True)
            case "gp":
                return samplers.GPSampler(seed=seed, warn_independent_sampling=False)
        return samplers.QMCSampler(
            scramble=True, seed=0, independent_sampler=first, warn_independent_sampling=False
        )

    def _point(self, params: dict[str, Any]) -> Point:
        return {one.name: _typed(one, params[one.name]) for one in self._space.dimensions}


def search(
    proposals: Proposals,
    count: int,
    under_way: int,
    admit: Callable[[Sequence[Point]], list[Entry]],
    carrier: Carrier,
) -> list[Entry]:
    """``count`` proposals in all, ``under_way`` of them at a time."""
    entries, told = admit(proposals.asked()), 0
    while told < len(entries) or len(entries) < count:
        while len(entries) < count and len(entries) - told < under_way:
            entries += admit([proposals.ask()])
        for entry in entries[told : told + under_way]:
            carrier.submit(entry)
        if proposals.tell(told, carrier.wait(entries[told]).cost):
            told += 1
        else:
            proposals.begin_anew()
            entries, told = [], 0
    return entries


def check_sampler(name: str) -> None:
    """Raises LabError for a sampler that is none, or that needs Optuna where that is missing."""
    if name not in SAMPLERS:
        raise LabError(f"there is no sampler {name!r}; allowed: {either(SAMPLERS)}")
    if name != "random":
        _import()


def _import() -> Any:
    try:
        import optuna
    except ModuleNotFoundError:
        raise LabError(
            "this sampler is Optuna's, which is not installed: pip install 'optuna>=4.5,<6', "
            "or search at random (--sampler random)"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it talks to stderr about its own affairs
    return optuna


def _distribution(optuna: Any, dimension: Dimension) -> Any:
    kinds = optuna.distributions
    if dimension.span is not None:
        kind = kinds.IntDistribution if dimension.whole else kinds.FloatDistribution
        return kind(*dimension.span, log=True)
    if in_order(dimension) is not None:
        return kinds.IntDistribution(0, len(dimension.values) - 1)
    return kinds.CategoricalDistribution(dimension.values)


def _typed(dimension: Dimension, proposed: Any) -> str:
    if dimension.span is not None:
        return at(dimension, proposed)
    ordered = in_order(dimension)
    return str(proposed) if ordered is None else ordered[proposed]


def in_order(dimension: Dimension) -> list[str] | None:
    """Values that are numbers, the smallest first; None where one is none."""
    values = [(number(value), value) for value in dimension.values]
    if any(found is None for found, _ in values):
        return None
    return [value for _, value in sorted(values, key=lambda pair: pair[0] or 0)]


def _backend(path: Path) -> Any:
    """Optuna's journal under a lock that ends with its process: Optuna's own would outlive a killed one."""
    from optuna.storages.journal import JournalFileBackend

    class Held:
        lock: Lock

        def acquire(self) -> bool:
            self.lock = Lock(f"{path}.lock")
            return True

        def release(self) -> None:
            self.lock.release()

    return JournalFileBackend(str(path), lock_obj=Held())  # type: ignore[arg-type]
