"""Points to fit a law to: named columns of numbers, checked once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.laws.base import Array, Law
from danlu.laws.errors import LawError

# What the columns of laws are called, everywhere in danlu.laws.
COLUMNS: dict[str, tuple[str, str]] = {
    "n": ("parameters", "number of the model's parameters"),
    "d": ("tokens", "tokens trained on"),
    "c": ("FLOP", "training compute"),
    "s": ("updates", "steps of the optimizer"),
    "b": ("tokens", "batch size"),
    "u": ("tokens", "unique tokens trained on"),
    "lr": ("", "peak learning rate"),
    "x": ("", "any one quantity"),
    "loss": ("nats/token", "held-out loss"),
    "task_loss": ("nats or bits", "loss on the right answers of a task"),
    "width": ("", "width of the model"),
    "depth": ("", "layers of the model"),
    "e": ("", "number of experts"),
    "g": ("", "granularity: into how many experts a feed-forward layer is cut"),
    "pw": ("bits", "precision of the weights"),
    "pa": ("bits", "precision of the activations"),
    "pkv": ("bits", "precision of the attention cache"),
    "rise": ("nats/token", "loss that quantization after training adds"),
    "loss_other": ("nats/token", "loss on another distribution"),
    "error": ("", "share of a task's answers that are wrong"),
    "accuracy": ("", "share of a task's answers that are right"),
}
SHARES = tuple(f"w{i}" for i in range(1, 8))  # of domains in a mixture, which may be none
COLUMNS |= {name: ("", f"share of domain {name[1:]} in the data") for name in SHARES}
FLOPS_PER_PARAMETER_AND_TOKEN = 6.0
DIGITS = 12  # of a number in a text that count
SIZES = ("n", "d")
SAME_SIZE = 1.005  # sizes up to this factor apart are one


class Points(Mapping[str, Array]):
    """Columns of equal length, float64, without NaN or infinity; read-only.

    ``Points(n=…, d=…, loss=…)``; any further columns of numbers (of runs, of clusters) are carried along.
    Raises LawError where a column cannot be numbers, has another length or holds NaN or infinity.
    """

    def __init__(self, columns: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        self._columns: dict[str, Array] = {}
        for name, values in {**(columns or {}), **named}.items():
            try:
                column = np.array(values, dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise LawError(f"column {name} is not numbers: {error}") from None
            if column.ndim != 1:
                raise LawError(f"column {name} must be one-dimensional, not of shape {column.shape}")
            if bad := np.flatnonzero(~np.isfinite(column)).tolist():
                raise LawError(f"column {name} holds {column[bad[0]]} in point {bad[0] + 1} {_among(bad)}")
            column.flags.writeable = False
            self._columns[name] = column
        if len(lengths := {len(column) for column in self._columns.values()}) > 1:
            told = ", ".join(f"{name} {len(column)}" for name, column in self._columns.items())
            raise LawError(f"columns must be equally long: {told}")
        self.size = lengths.pop() if lengths else 0

    def __getitem__(self, name: str) -> Array:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        """The number of columns; ``size`` is that of points."""
        return len(self._columns)

    def __repr__(self) -> str:
        return f"Points({self.size} points: {', '.join(self)})"

    def take(self, which: Any) -> Points:
        """The points that an index array or a mask chooses."""
        return Points({name: column[which] for name, column in self.items()})

    def with_columns(self, **columns: Any) -> Points:
        """With these columns added or replaced."""
        return Points({**self, **columns})

    def with_compute(self) -> Points:
        """With the one of n, d and c that is missing, by C = 6 N D; as it is, where more are missing."""
        k = FLOPS_PER_PARAMETER_AND_TOKEN
        if "c" not in self and {"n", "d"} <= self.keys():
            return self.with_columns(c=k * self["n"] * self["d"])
        if "d" not in self and {"n", "c"} <= self.keys():
            return self.with_columns(d=self["c"] / (k * self["n"]))
        if "n" not in self and {"d", "c"} <= self.keys():
            return self.with_columns(n=self["c"] / (k * self["d"]))
        return self


def check(law: Law, points: Points, held: int = 0) -> None:
    """Raise LawError, one sentence, where the points cannot determine the law, of which so many parameters
    are not fitted."""
    for name in (*law.columns, law.target):
        if name not in points:
            unit, meaning = COLUMNS.get(name, ("", ""))
            told = f" ({meaning}{', ' + unit if unit else ''})" if meaning else ""
            raise LawError(f"{law.name} needs a column {name}{told}; there are {', '.join(points) or 'none'}")
        if name not in law.columns and law.space != "log":  # a target that may have either sign
            continue
        wrong = points[name] < 0 if name in SHARES else points[name] <= 0
        if bad := np.flatnonzero(wrong).tolist():
            value, sign = points[name][bad[0]], "≥" if name in SHARES else ">"
            raise LawError(
                f"{law.name} needs {name} {sign} 0, but point {bad[0] + 1} has {value:g} {_among(bad)}; "
                f"--where '{name}{sign.replace('≥', '>=')}0' leaves {'it' if len(bad) == 1 else 'them'} out"
            )
    if points.size < len(law.parameters) - held:
        raise LawError(
            f"{law.name} has {len(law.parameters)} parameters ({', '.join(law.names)}), "
            f"{f'{held} of them held, ' if held else ''}"
            f"too many for {points.size} point{'s' * (points.size != 1)}"
        )
    for name in law.columns:
        found, needed = distinct(name, points[name]), max(1, law.distinct.get(name, 2) - held)
        if found < needed:
            alike = name in SIZES and len(np.unique(points[name])) > found
            raise LawError(
                f"{law.name} needs at least {needed} different values of {name}, but there "
                f"{'is' if found == 1 else 'are'} {found}"
                + (f" (those within {SAME_SIZE - 1:.1%} count as one)" if alike else "")
            )
    target = points[law.target]
    if points.size > 1 and np.ptp(target) <= 1e-12 * np.abs(target).max():
        raise LawError(
            f"{law.target} is {target[0]:g} in all of {points.size} points: a law needs one that changes; "
            "look whether the column is the right one"
        )


def distinct(name: str, values: Array) -> int:
    """How many different values a column has; sizes (n, d) as ``same_size`` counts them."""
    labels = same_size(values) if name in SIZES else np.unique(values, return_inverse=True)[1]
    return int(labels.max(initial=-1)) + 1


def same_size(values: Array) -> NDArray[np.int64]:
    """The size of each value, (points,), 0 the smallest: those within .5 % of a size's smallest are of it, as
    models that differ by a head or a norm, or were read off a figure."""
    return alike(values, SAME_SIZE)


def alike(values: Array, factor: float) -> NDArray[np.int64]:
    """Which values belong together, (points,), 0 the smallest: those up to ``factor`` times the smallest of
    them."""
    different, inverse = np.unique(values, return_inverse=True)
    labels, first, label = np.zeros(len(different), np.int64), np.inf, -1
    for place, value in enumerate(different.tolist()):
        if label < 0 or value > first * factor:
            first, label = value, label + 1
        labels[place] = label
    return labels[inverse]


def ranks(values: Array) -> Array:
    """The place of each value among all, (points,), 1 the smallest; those that are equal share the mean."""
    _, inverse, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[inverse]


def rank_correlation(one: Array, other: Array) -> float:
    """Spearman's, of two columns, (points,) each; 0 where one is constant."""
    a, b = (ranks(values) - (len(values) + 1) / 2 for values in (one, other))
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else 0.0


def label(cell: Any) -> str:
    """What a cell says, by which rows are told apart; numbers that rounding alone parts are one."""
    text = "" if cell is None else str(cell).strip()
    if len(text) <= DIGITS or text.isdigit():
        return text
    try:
        return f"{float(text):.{DIGITS}g}"
    except ValueError:
        return text


def _among(bad: list[int]) -> str:
    return f"(and {len(bad) - 1} more)" if len(bad) > 1 else "(the only one)"
