"""Which file, and which of its columns is what: the options that verbs of ``danlu laws`` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

File = Annotated[
    Path, typer.Argument(help="A CSV, JSONL or Parquet file, a run's folder or a folder of runs.")
]
N = Annotated[str | None, typer.Option("--n", metavar="COLUMN", help="The column of parameters.")]
D = Annotated[str | None, typer.Option("--d", metavar="COLUMN", help="The column of tokens.")]
C = Annotated[str | None, typer.Option("--c", metavar="COLUMN", help="The column of training FLOP.")]
Column = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="OURS=THEIRS", help="Any other column: loss=eval_loss, x=examples."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def chosen(n: str | None, d: str | None, c: str | None, column: list[str] | None) -> dict[str, str]:
    """The names of the file's columns by ours. Raises LawError for a name that is none of ours."""
    from danlu.laws import COLUMNS, LawError

    names = {name: value for name, value in (("n", n), ("d", d), ("c", c)) if value}
    for said in column or []:
        ours, equals, theirs = said.partition("=")
        if not equals or ours not in COLUMNS:
            raise LawError(f"--column {said}: it is OURS=THEIRS, OURS one of {', '.join(COLUMNS)}")
        names[ours] = theirs
    return names


def floats(option: str, said: str | None) -> list[float]:
    """Numbers above zero with commas between them. Raises LawError for anything else."""
    from danlu.laws import LawError

    try:
        values = [float(part) for part in (said or "").split(",") if part.strip()]
    except ValueError:
        values = [0.0]
    if any(not 0 < value < float("inf") for value in values) or (said is not None and not values):
        raise LawError(f"{option} {said}: numbers above zero with commas between, such as 1e21,1e23")
    return values
