"""Which rows: ``lr>1e-3``, ``state=finished``, by a small grammar. Nothing is evaluated.

filter  = NAME OPERATOR VALUE
operator: = != < <= > >=, and ~ (the text holds VALUE, whatever the case)
value   = a number (1e-3, 2M, 10k), true, false, none, or text
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from danlu.files.errors import DanluError
from danlu.files.numbers import SUFFIXES

_FILTER = re.compile(r"\s*([^\s=!<>~](?:[^=!<>~]*[^\s=!<>~])?)\s*(<=|>=|!=|==|[=<>~])\s*(.*?)\s*", re.DOTALL)
_COUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kKmMbBgGtT])")
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge
}  # fmt: skip
ROUNDING = 1e-12  # relative: 0.1 + 0.2 is 0.3
_WORDS = {"none": None, "null": None, "true": True, "false": False}


class FilterError(DanluError):
    """A filter that cannot be read."""


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
        return is_number(found) and _ORDER[self.operator](found, self.value)


def parse_filter(text: str) -> Filter:
    """Raises ``FilterError`` where ``text`` is no filter."""
    match = _FILTER.fullmatch(text)
    if match is None or not match[3]:
        raise FilterError(
            f"--where {text!r} is not NAME OPERATOR VALUE, such as 'optimizer.lr>1e-3'; "
            "the operators are = != < <= > >= and ~ (contains)"
        )
    name, sign, written = match[1], match[2].replace("==", "="), match[3]
    value = written if sign == "~" else value_of(written)
    if sign in _ORDER and not is_number(value):
        raise FilterError(
            f"--where {text!r}: {sign} needs a number, not {written!r}; for text there are = != and ~"
        )
    return Filter(name, sign, value)


def value_of(written: str) -> Any:
    """What a text stands for: a number, true, false, None, or itself; without its quotes, if it has any."""
    if written.lower() in _WORDS:
        return _WORDS[written.lower()]
    if match := _COUNT.fullmatch(written):
        return float(match[1]) * SUFFIXES[match[2].lower()]
    if len(written) > 1 and written[0] == written[-1] and written[0] in "'\"":
        return written[1:-1]
    try:
        return float(written)
    except ValueError:
        return written


def _equal(found: Any, wanted: Any) -> bool:
    if is_number(found) and is_number(wanted):
        return math.isclose(found, wanted, rel_tol=ROUNDING) or (math.isnan(found) and math.isnan(wanted))
    return type(found) is type(wanted) and bool(found == wanted)


def is_number(value: Any) -> bool:
    """Whether it is a number and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)
