"""The verbs ``runs`` and ``compare``."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from danlu.cli.drawn import FigureFile, Html, check, check_figure, end, save
from danlu.cli.output import (
    Force,
    inform,
    on_terminal,
    print_json,
    print_table,
    say,
    say_drawn,
    show_progress,
    speak,
    spoken,
)

if TYPE_CHECKING:
    from danlu.lab.reading.comparison import Comparison
    from danlu.lab.reading.run import Run

GIVING_WAY = ("time", "steps", "state")  # columns that a narrow terminal does without
SHOWN = 40  # rows of the table, if --limit says nothing else
PATIENCE = 2.0  # seconds until the reading of many runs says how far it is

Json = Annotated[bool, typer.Option("--json", help="Print JSON; null: unknown or not finite.")]


def runs(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FOLDER...", help="Folders to look in. Default: runs and studies/runs."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="FILTER",
            help="Keep runs with 'optimizer.lr>1e-3', state=finished, name~tiny; may be repeated.",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort", metavar="NAME", help="Sort by best (the best first), lr, seconds…; -NAME: reversed."
        ),
    ] = None,
    group: Annotated[
        bool, typer.Option("--group", help="Show runs that differ only in the seed as one line.")
    ] = False,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="NAMES", help="Columns to show: best,lr,seconds")
    ] = None,
    by_other_code: Annotated[
        bool, typer.Option("--by-other-code", help="Only runs that a study would run again.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=0, help=f"Maximal number of rows; 0: all. Default: {SHOWN}, with --json all."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List runs, newest first.

    Examples: danlu runs --sort best; danlu runs --group --where 'lr>1e-3'
    """
    from danlu.lab.reading import table
    from danlu.lab.reading.code import NOT_OURS
    from danlu.lab.reading.groups import group as grouped
    from danlu.lab.reading.selection import full_name, ranked_by, select

    chosen = select(_read(folders), where or ())
    if by_other_code:
        chosen = [run for run in chosen if run.code in NOT_OURS]
    wanted = [name.strip() for name in (columns or "").split(",") if name.strip()]
    names = [full_name(name, chosen) for name in wanted] if chosen else []
    items: list[Any] = list(grouped(chosen)) if group else chosen
    lists = [items] if items else []
    if sort is not None:
        lists = ranked_by(items, sort, chosen)
    most = ((0 if as_json else SHOWN) if limit is None else limit) or len(items)
    if as_json:
        shown = [item for one in lists for item in one][:most]
        print_json("runs", [(table.group_json if group else table.run_json)(item) for item in shown])
    elif items:
        _print_lists(lists, names, group, most)
        if len(items) > most:
            inform(f"… and {len(items) - most:,} more; --limit 0 shows all")
    else:
        inform("no run fits" if where or by_other_code else "no run there")


def _print_lists(lists: list[list[Any]], names: list[str], group: bool, most: int) -> None:
    """A table for each list, at most so many rows in all. Lists that are scored on different things have a
    heading each."""
    from danlu.lab.reading import table

    headings = table.headings([one[0].first for one in lists]) if len(lists) > 1 else []
    for place, one in enumerate(lists):
        if most <= 0:
            return
        if headings:
            speak(f"{chr(10) if place else ''}{headings[place]}")
        rows = (table.group_rows if group else table.run_rows)(one[:most], names)
        drop = [] if names else [rows[0].index(name) for name in GIVING_WAY]
        print_table(
            [_headed(rows[0]), *map(_stated, [rows[0]] * len(rows), rows[1:])], shorten=(0,), drop=drop
        )
        most -= len(one)


def _in_words(row: tuple[str, ...]) -> tuple[str, ...]:
    """A row of a comparison in the language of who asks; that of a field stays."""
    from danlu.lab.reading.table import HEADS

    name, *cells = row
    ((said, *told),) = spoken([row])
    if name not in HEADS and ", " not in name:
        return row
    return (said, *(told if name == "runs" else cells))


def _stated(head: Sequence[str], row: Sequence[str]) -> list[str]:
    """A row with state and code in the language of who asks; else there are names and numbers."""
    names = [i for i, name in enumerate(head) if name not in ("state", "code")]
    return spoken([head, row], names)[1]


def _headed(names: Sequence[str]) -> list[str]:
    """Headings in the language of who asks; names of fields stay."""
    from danlu.lab.reading.table import HEADS

    (said,) = spoken([names])
    return [zh if name in HEADS else name for name, zh in zip(names, said, strict=True)]


def compare(
    sides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SIDE SIDE...", help="Each side: a run, a folder of runs, or a pattern in quotes."
        ),
    ] = None,
    x: Annotated[
        str, typer.Option("--x", help="Horizontal axis of the curves: steps, time, flops or tokens.")
    ] = "steps",
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric", help="A name in metrics.jsonl, such as loss. Default: the metric of the first side."
        ),
    ] = None,
    html: Html = None,
    figure: FigureFile = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Compare runs at equal steps, time, FLOPs and tokens.

    The first side is what the others are compared with.

    Example: danlu compare runs/first runs/second
    """
    from danlu.lab.reading import report
    from danlu.lab.reading.comparison import compare as compared
    from danlu.lab.reading.curves import check_axis

    check_axis(x)
    check(html, force)
    check_figure(figure, force)
    found = compared(sides or [], metric)
    if figure is not None:
        save(report.gain(found, x) or report.chart(found, x), figure, force)
    end(
        "compare",
        lambda: report.to_json(found),
        lambda: _tell(found, x),
        lambda: report.html(found, x, *([html] if html else [])),
        path=html,
        force=force,
        as_json=as_json,
    )


def _tell(found: Comparison, x: str) -> None:
    from danlu.lab.reading import report

    for warning in found.warnings:
        speak(f"{report.warned(warning)}\n")
    head, *rows = report.rows(found)
    rows = [head, *(_in_words(row) for row in rows)]
    print_table(rows, shorten=range(1, len(head)))
    speak(f"\n{report.differences_of(found)}")
    rows = report.difference_rows(found)
    print_table(spoken(rows, names=(0,)), shorten=(0,), drop=(0,) if len(found.sides) == 2 else ())
    speak(f"\n{report.HOW}")
    for note in found.notes:
        speak(f"note: {note}")
    width = min(100, shutil.get_terminal_size().columns) if on_terminal() else 80
    say()
    say_drawn(report.curves_text(found, x, width, on_terminal()))


def _read(folders: list[Path] | None) -> list[Run]:
    from danlu.lab.reading.index import places, read_runs

    start, told = time.monotonic(), False

    def progress(done: int, of: int) -> None:
        nonlocal told
        if done % 64 == 0 and sys.stderr.isatty() and time.monotonic() - start > PATIENCE:
            show_progress(f"reading runs: {done:,} of {of:,}")
            told = True

    found = read_runs(places(folders or ()), progress)
    if told:
        show_progress("")
    return found
