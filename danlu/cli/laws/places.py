"""Where a law is asked: ``--at``, the same in every verb."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated

import typer

from danlu.cli.laws.columns import amount

At = Annotated[
    list[str] | None,
    typer.Option(
        "--at",
        metavar="NAME=VALUES,…",
        help="Predict here: n=7B,d=2T or c=1e23; n=1B,7B,d=2T is two places. Again for more.",
    ),
]
Columns = Mapping[str, list[float]]


def read_places(said: Sequence[str]) -> list[dict[str, list[float]]]:
    """Of each ``--at`` its columns with their values. Raises LawError for anything else.

    A part with ``=`` begins a column, one without is a further value of the column before it.
    """
    from danlu.laws import LawError

    found = []
    for one in said:
        columns: dict[str, list[float]] = {}
        name = ""
        try:
            for part in one.split(","):
                before, equals, value = part.rpartition("=")
                if equals:
                    name = before.strip()
                    if name in columns:
                        raise LawError(f"--at {one}: {name} is given twice")
                columns.setdefault(name, []).append(amount(name)(value.strip()))
        except (ValueError, typer.BadParameter):
            columns = {}
        values = [value for column in columns.values() for value in column]
        if "" in columns or not values or any(not 0 < value < float("inf") for value in values):
            raise LawError(
                f"--at {one}: it is names with numbers above zero, such as n=7e9,d=2e12, c=1e23 or loss=2.1"
            )
        found.append(columns)
    return found


def joined(places: Sequence[Columns], whole: Callable[[Collection[str]], bool]) -> list[Columns]:
    """The places; several ``--at`` of different columns, none of which is a ``whole`` place, make up one."""
    names = [name for one in places for name in one]
    if len(places) > 1 and len(set(names)) == len(names) and not any(whole(one) for one in places):
        return [{name: values for one in places for name, values in one.items()}]
    return list(places)
