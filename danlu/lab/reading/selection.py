"""Which runs, by filters (``danlu.files.filters``), and in which order.

A name is a fact of the run, a measure, a field of its experiment, or the end of a field's name: ``lr`` stands
for ``optimizer.lr`` where no other field ends in ``.lr``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

from danlu.files.filters import is_number, parse_filter
from danlu.lab.reading.run import FACTS, Run


def select(runs: Sequence[Run], filters: Iterable[str]) -> list[Run]:
    """The runs of which all filters hold. Raises ``FilterError`` for one that cannot be read,
    ``LabError`` for a name that no run has."""
    chosen = list(runs)
    for one in map(parse_filter, filters):
        if runs:
            name = full_name(one.name, runs)
            chosen = [run for run in chosen if one.holds(run.value(name))]
    return chosen


class Valued(Protocol):
    """A run, or a group of runs; ``first``: the one that stands for it."""

    @property
    def first(self) -> Run: ...
    def value(self, name: str) -> Any: ...


Item = TypeVar("Item", bound=Valued)


def order(items: Sequence[Item], by: str) -> list[Item]:
    """Sorted by a name from the lowest, by a metric from the best; ``-NAME``: the other way round. What is
    missing or NaN comes last either way."""
    name = by.removeprefix("-")
    values = [(item.value(name), item) for item in items]
    known = [(value, item) for value, item in values if value is not None and value == value]
    highest = bool(items) and _is_metric(name, items[0].first) and items[0].first.better == "higher"
    known.sort(key=lambda pair: _key(pair[0]), reverse=by.startswith("-") != highest)
    return [item for _, item in known] + [item for value, item in values if value is None or value != value]


def ranked(items: Sequence[Item], by: str) -> list[list[Item]]:
    """``order``; by a metric, one list for each yardstick, since values of different examples or metrics rank
    nothing against each other. The list with the first item comes first."""
    lists: dict[tuple[str, ...], list[Item]] = {}
    for item in items:
        apart = _is_metric(by.removeprefix("-"), item.first)
        lists.setdefault(item.first.yardstick if apart else (), []).append(item)
    return [order(one, by) for one in lists.values()]


def ranked_by(items: Sequence[Item], word: str, runs: Sequence[Run]) -> list[list[Item]]:
    """``ranked`` by a name as a person writes it, of ``runs``; ``-NAME``: the other way round. Raises
    ``LabError`` as ``full_name``."""
    if not runs:
        return []
    minus = "-" if word.startswith("-") else ""
    return ranked(items, f"{minus}{full_name(word.removeprefix('-'), runs)}")


def _is_metric(name: str, run: Run) -> bool:
    return name in ("metric", "best", run.metric_name)


def full_name(word: str, runs: Sequence[Run]) -> str:
    """The fact, measure or field that a word means. Raises ``LabError`` where it is none or several."""
    alike = dict.fromkeys(tuple(run.fields) for run in runs)  # of thousands of runs a few
    fields = list(dict.fromkeys(name for names in alike for name in names))
    metrics = dict.fromkeys(run.metric_name for run in runs if run.metric_name)
    others = [*FACTS, *metrics, *dict.fromkeys(run.counted for run in runs)]
    others += [*dict.fromkeys(name for run in runs for name in run.measures)]
    if word in others or word in fields:
        return word
    ends = [name for name in fields if name.endswith(f".{word}")]
    if len(ends) == 1:
        return ends[0]
    from danlu.spec.errors import did_you_mean, either

    if ends:
        raise _error(f"{word} may be {either(ends)}; write more of it")
    short = {name.rpartition(".")[2] for name in fields}
    hint = did_you_mean(word, [*others, *fields, *short])
    raise _error(f"no run has {word!r}{hint or ': danlu show RUN lists its fields, --json its facts'}")


def _key(value: Any) -> tuple[bool, Any]:
    """Numbers before text."""
    return (False, value) if is_number(value) else (True, str(value))


def _error(sentence: str) -> Exception:
    from danlu.lab.errors import LabError

    return LabError(sentence)
