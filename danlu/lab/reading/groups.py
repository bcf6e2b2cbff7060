"""What runs differ in; and runs that differ in their seed alone, taken together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from danlu.lab.reading.code import NOT_OURS
from danlu.lab.reading.run import FACTS, Run

if TYPE_CHECKING:
    from danlu.lab.statistics import Interval

ON = "on"  # shown for a part that some runs have and others lack


def differing(runs: Sequence[Run]) -> list[str]:
    """The fields that are not the same in all runs that have them, and the parts that are there (``qk_norm``
    with fields of its own) in some runs and none in others.

    A field that some runs lack otherwise is left out: another kind of the part has other fields, and that the
    kind differs is said; and a run by an older danlu lacks what there was not yet.
    """
    values: dict[str, list[Any]] = {}
    for run in runs:
        for name, value in run.fields.items():
            values.setdefault(name, []).append(value)
    parts = {name[:k] for name in values for k, letter in enumerate(name) if letter == "."}
    return [
        name for name, found in values.items() if name in parts or any(value != found[0] for value in found)
    ]


def shown(run: Run, name: str) -> Any:
    """A run's value for a table: of a part that is there and has fields of its own, its kind, or ``on``."""
    if name not in run.fields and any(field.startswith(f"{name}.") for field in run.fields):
        return run.fields.get(f"{name}.kind", ON)
    return run.value(name)


def short_names(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Each name by its shortest end that is no other's, nor a fact's: what ``full_name`` takes."""
    names = list(names)
    owners: dict[str, set[str]] = {}
    for name in {*known, *names, *FACTS}:
        for end in _ends(name):
            owners.setdefault(end, set()).add(name)
    return {name: next((end for end in _ends(name) if owners[end] == {name}), name) for name in names}


def _ends(name: str) -> list[str]:
    """``a.b.c`` → c, b.c, a.b.c."""
    parts = name.split(".")
    return [".".join(parts[k:]) for k in reversed(range(len(parts)))]


@dataclass(frozen=True)
class Group:
    """Runs whose experiments differ in the seed alone, newest first. Of several runs of one seed, which are
    repetitions and no further evidence, the newest that finished counts."""

    runs: tuple[Run, ...]

    @cached_property
    def counted(self) -> list[Run]:
        """The finished runs that the means are over, one a seed."""
        by_seed: dict[Any, Run] = {}
        for run in self.runs:
            if run.state == "finished":
                by_seed.setdefault(run.seed, run)
        return list(by_seed.values())

    @property
    def first(self) -> Run:
        return (self.counted or self.runs)[0]

    @property
    def states(self) -> dict[str, int]:
        """How many runs are in each state."""
        states = [run.state for run in self.runs]
        return {state: states.count(state) for state in dict.fromkeys(states)}

    def mean(self, name: str) -> Interval | None:
        """Mean of a number over the counted runs and its 95 % t interval; None where no run has it."""
        values = [run.value(name) for run in self.counted]
        numbers = [float(value) for value in values if isinstance(value, int | float)]
        if not numbers:
            return None
        from danlu.lab.statistics import mean_interval

        return mean_interval(numbers)

    def value(self, name: str) -> Any:
        """A field of the experiment, which all share; else the mean of a number; else the first run's."""
        if name in self.first.fields:
            return self.first.fields[name]
        mean = self.mean(name)
        return self.first.value(name) if mean is None else mean.value


def group(runs: Sequence[Run]) -> list[Group]:
    """The runs by what they are but for the seed, each group where its first run stands. Those by other code
    than is here stand apart, by which it was."""
    groups: dict[tuple[bytes, str | None], list[Run]] = {}
    for run in runs:
        other = run.mark and run.mark.partition(" ")[2] if run.code in NOT_OURS else ""
        groups.setdefault((run.but_for_seed, other), []).append(run)
    return [Group(tuple(runs)) for runs in groups.values()]
