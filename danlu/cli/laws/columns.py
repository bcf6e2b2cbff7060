"""Which file, and which of its columns is what: the options that verbs of ``danlu laws`` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

File = Annotated[
    Path, typer.Argument(help="A table (CSV, JSON, JSONL, Parquet), a run, or a folder of runs.")
]
N = Annotated[str | None, typer.Option("--n", metavar="COLUMN", help="The column of parameters.")]
D = Annotated[str | None, typer.Option("--d", metavar="COLUMN", help="The column of tokens.")]
C = Annotated[str | None, typer.Option("--c", metavar="COLUMN", help="The column of training FLOP.")]
Column = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="OURS=THEIRS", help="Any other column: loss=eval_loss, x=examples."),
]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="FILTER", help="Keep points with family=gpt, 'loss<5', name~tiny."),
]
Unit = Annotated[
    list[str] | None,
    typer.Option("--unit", metavar="OURS=UNIT", help="Unit of a column: n=M, d=B, c=PF-days, loss=bits."),
]
Minimised = Annotated[
    str, typer.Option("--loss", help="What is minimised, of ln loss: huber:WIDTH, huber:auto, mse or lad.")
]
HoldOut = Annotated[
    int,
    typer.Option("--hold-out", min=0, max=1000, help="Number of the largest budgets, or sizes, to predict."),
]
Far = Annotated[bool, typer.Option("--far", help="Go on however far beyond the data it is.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def reading(
    n: str | None,
    d: str | None,
    c: str | None,
    column: list[str] | None,
    where: list[str] | None,
    unit: list[str] | None,
) -> dict[str, Any]:
    """What ``danlu.laws.read`` is asked for: ``chosen``, ``where``, ``units``. Raises LawError for a name
    that is none of ours."""
    names = {name: value for name, value in (("n", n), ("d", d), ("c", c)) if value}
    names |= _pairs("column", "THEIRS", column)
    return {"chosen": names, "where": where or (), "units": _pairs("unit", "UNIT", unit)}


def _pairs(option: str, what: str, said: list[str] | None) -> dict[str, str]:
    from danlu.laws import COLUMNS, LawError

    pairs = {}
    for one in said or []:
        ours, _, value = one.partition("=")
        if not value or ours not in COLUMNS:
            raise LawError(f"--{option} {one}: it is OURS={what}, OURS one of {', '.join(COLUMNS)}")
        pairs[ours] = value
    return pairs


def minimised(said: str) -> Any:
    """What ``--loss`` says: a Loss, or None for one that suits the scatter. Raises LawError."""
    from danlu.laws import Loss

    return None if said == "huber:auto" else Loss.of(said)


def of_points(path: Path, **said: Any) -> None:
    """Options that a fit file has no use for: raises LawError for the first that is given, by its name."""
    from danlu.laws import LawError

    for name, value in said.items():
        if value is not None:
            raise LawError(f"--{name} is of points, and {path} is a fit, which has its own; leave it out")


def together(got: Any, cluster: str | None) -> dict[str, Any]:
    """What ``danlu.laws.answer`` is told of rows that belong together: by ``--cluster``, else as it finds."""
    from danlu.laws.audit.dependence import NONE

    labels = None if cluster in (None, NONE) else got.labels(cluster)
    return {"table": got.others, "cluster": labels, "cluster_name": cluster}


def belonging(got: Any, cluster: str | None, free: int) -> Any:
    """Which rows belong together, for ``free`` parameters: by ``--cluster``, else as they are found."""
    from danlu.laws.audit import dependence

    if cluster is None:
        return dependence.found(got.points, got.others, free)
    return dependence.none() if cluster == dependence.NONE else dependence.asked(cluster, got.labels(cluster))


def floats(option: str, said: str | None) -> list[float]:
    """Numbers above zero with commas between them, FLOP as ``amount`` reads them. Raises LawError for
    anything else."""
    from danlu.laws import LawError

    try:
        values = [amount("c")(part) for part in (said or "").split(",") if part.strip()]
    except typer.BadParameter:
        values = [0.0]
    if any(not 0 < value < float("inf") for value in values) or (said is not None and not values):
        raise LawError(f"{option} {said}: numbers above zero with commas between, such as 1e21,1e23")
    return values


def amount(ours: str, option: str | None = None) -> Callable[[str], float]:
    """The reader of an option that is a number of one of our columns ("" of none): 7e9, 7B, 1.4T. ``option``:
    its name, where typer does not read it."""

    def number(text: str) -> float:
        from danlu.laws.files.units import number as read

        found = read(text, of=ours)
        if found is None:
            said = f"{option} = {text!r}" if option else repr(text)
            raise typer.BadParameter(f"{said}; allowed: a number above zero, such as 7e9 or 7B")
        return found

    return number
