"""Which runs, in which order: ``lr>1e-3``, ``state=finished``, by a small grammar. Nothing is evaluated.

    filter  = NAME OPERATOR VALUE
    operator: = != < <= > >=, and ~ (the text holds VALUE, whatever the case)
    value   = a number (1e-3, 2M, 10k), true, false, none, or text

A name is a fact of the run, a measure, a field of its experiment, or the end of a field's name: ``lr`` stands
for ``optimizer.lr`` where no other field ends in ``.lr``.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from danlu.lab.reading.run import FACTS, Run

_FILTER = re.compile(r"\s*([^\s=!<>~]+)\s*(<=|>=|!=|==|[=<>~])\s*(.*?)\s*", re.DOTALL)
_COUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kMBGT])")
SCALES = {"k": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge
}  # fmt: skip
_WORDS = {"none": None, "null": None, "true": True, "false": False}


class Filter(NamedTuple):
    """``name`` may still be the end of a field's name; ``value`` is a number, a truth value, None or text."""

    name: str
    operator: str
    value: Any

    def holds(self, found: Any) -> bool:
        """Whether it is true of a run's value. An order holds of numbers alone, and of no NaN."""
        match self.operator:
            case "~":
                return str(self.value).lower() in str(found).lower()
            case "=":
                return _equal(found, self.value)
            case "!=":
                return not _equal(found, self.value)
        return _is_number(found) and _ORDER[self.operator](found, self.value)


def parse_filter(text: str) -> Filter:
    """Raises ``LabError`` where ``text`` is no filter."""
    match = _FILTER.fullmatch(text)
    if match is None or not match[3]:
        raise _error(
            f"--where {text!r} is not NAME OPERATOR VALUE, such as 'optimizer.lr>1e-3'; "
            "the operators are = != < <= > >= and ~ (contains)"
        )
    name, sign, written = match[1], match[2].replace("==", "="), match[3]
    value = written if sign == "~" else _value(written)
    if sign in _ORDER and not _is_number(value):
        raise _error(
            f"--where {text!r}: {sign} needs a number, not {written!r}; for text there are = != and ~"
        )
    return Filter(name, sign, value)


def select(runs: Sequence[Run], filters: Iterable[str]) -> list[Run]:
    """The runs of which all filters hold. Raises ``LabError`` for one that cannot be read, or a name that no
    run has."""
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


def _is_metric(name: str, run: Run) -> bool:
    return name in ("metric", "best", run.metric_name)


def full_name(word: str, runs: Sequence[Run]) -> str:
    """The fact, measure or field that a word means. Raises ``LabError`` where it is none or several."""
    fields = list(dict.fromkeys(name for run in runs for name in run.fields))
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


def _value(written: str) -> Any:
    if written.lower() in _WORDS:
        return _WORDS[written.lower()]
    if match := _COUNT.fullmatch(written):
        return float(match[1]) * SCALES[match[2]]
    if len(written) > 1 and written[0] == written[-1] and written[0] in "'\"":
        return written[1:-1]
    try:
        return float(written)
    except ValueError:
        return written


def _equal(found: Any, wanted: Any) -> bool:
    if _is_number(found) and _is_number(wanted):
        return found == wanted or (math.isnan(found) and math.isnan(wanted))
    return type(found) is type(wanted) and bool(found == wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _key(value: Any) -> tuple[bool, Any]:
    """Numbers before text."""
    return (False, value) if _is_number(value) else (True, str(value))


def _error(sentence: str) -> Exception:
    from danlu.lab.errors import LabError  # loads every specification: only where something is wrong

    return LabError(sentence)
