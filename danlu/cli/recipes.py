"""The verb ``recipes``: the recipe book as a table."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from danlu.cli.columns import flush, widths
from danlu.cli.output import print_json, print_table, short, spoken
from danlu.cli.show import AsJson
from danlu.files.numbers import rounded

# By which the table is sorted, and the heading of each column.
COLUMNS = {
    "name": "name",
    "year": "year",
    "parameters": "parameters",
    "layers": "layers",
    "width": "width",
    "heads": "heads",
    "context": "context",
    "tokens": "tokens",
    "batch": "batch tokens",
    "lr": "lr",
    "optimizer": "optimizer",
}
FIELDS = ("layers", "width", "heads", "context", "lr", "optimizer")  # which stay as they are typed


def recipes(
    sort: Annotated[
        str | None,
        typer.Option("--sort", help=f"{', '.join(COLUMNS)}; with a - in front: largest first."),
    ] = None,
    family: Annotated[
        str | None, typer.Option("--family", help="Only this family: gpt3, opt, llama2, …")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the recipes: experiments by name.

    Example: danlu recipes --family opt --sort -lr
    """
    from danlu.spec import book

    found = _of(family, book.entries())
    rows = [_row(entry) for entry in found]
    if sort is not None:
        rows = _sorted(rows, sort)
    if as_json:
        by_name = {entry.name: entry for entry in found}
        print_json("recipes", [row | _about(by_name[row["name"]]) for row in rows])
        return
    (said,) = spoken([[*COLUMNS.values()]])
    head = [key if key in FIELDS else zh for key, zh in zip(COLUMNS, said, strict=True)]
    table = [head, *([_shown(key, row[key]) for key in COLUMNS] for row in rows)]
    sizes = widths(table)
    print_table([list(map(_placed, COLUMNS, line, sizes)) for line in table])


def _placed(key: str, cell: str, size: int) -> str:
    """A cell of a column: numbers stand to the right."""
    return cell if key in ("name", "optimizer") else flush(cell, size)


def _of(family: str | None, entries: list[Any]) -> list[Any]:
    """The recipes of a family. Raises SpecError if there is none of that name."""
    from danlu.spec.errors import SpecError, did_you_mean

    if family is None:
        return entries
    known = list(dict.fromkeys(entry.family for entry in entries))
    if family not in known:
        hint = did_you_mean(family, known) or "."
        raise SpecError(f"there is no family of recipes named {family}{hint} Families: {', '.join(known)}")
    return [entry for entry in entries if entry.family == family]


def _sorted(rows: list[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    """Rows by a column; those that have nothing there last."""
    from danlu.spec.errors import SpecError, did_you_mean

    key = sort.removeprefix("-")
    if key not in COLUMNS:
        hint = did_you_mean(key, COLUMNS) or "."
        raise SpecError(f"recipes cannot be sorted by {key}{hint} Columns: {', '.join(COLUMNS)}")
    known = sorted((r for r in rows if r[key] is not None), key=lambda r: r[key], reverse=sort != key)
    return known + [row for row in rows if row[key] is None]


def _row(entry: Any) -> dict[str, Any]:
    from danlu.spec.data import bpe_size
    from danlu.spec.shrink import BYTES, count, tokens_of

    experiment, published = entry.experiment, entry.published
    model, data = experiment.model, experiment.data
    of_text: dict[str, Any] = dict.fromkeys(("parameters", "context", "tokens", "batch"))
    if data.kind == "text":
        ids = data.vocabulary or bpe_size(data.tokenizer) or BYTES
        of_text = {
            "parameters": published.parameters or count(model, ids, data.context),
            "context": data.context,
            "tokens": published.tokens or tokens_of(experiment),
            "batch": experiment.train.batch * data.context,
        }
    return {
        "name": entry.name,
        "year": published.year,
        **of_text,
        "layers": getattr(model, "layers", None),
        "width": getattr(model, "width", None),
        "heads": getattr(getattr(model, "mixer", None), "heads", None),
        "lr": experiment.optimizer.lr,
        "optimizer": experiment.optimizer.kind,
    }


def _about(entry: Any) -> dict[str, Any]:
    return {
        "family": entry.family,
        "summary": entry.summary,
        "source": entry.source,
        "sources": dict(entry.sources),
        "unknown": list(entry.unknown),
    }


def _shown(key: str, value: Any) -> str:
    if value is None:
        return "–"
    if key in ("parameters", "tokens", "batch"):
        return rounded(value)
    return value if isinstance(value, str) else short(value)
