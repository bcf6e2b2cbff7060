"""The verbs ``runs`` and ``compare``."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from danlu.cli.output import Force, on_terminal, print_json, print_table, say, say_drawn, show_progress, tell

if TYPE_CHECKING:
    from danlu.lab.reading.run import Run

USUAL = ("runs", "studies/runs")  # where runs are looked for if no folder is named
SHOWN = 40  # rows of the table, if --limit says nothing else
PATIENCE = 2.0  # seconds until the reading of many runs says how far it is

Json = Annotated[bool, typer.Option("--json", help="Print JSON: null is what is not there or not finite.")]


def runs(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="FOLDER...", help="Default: runs and studies/runs.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where", metavar="FILTER", help="'optimizer.lr>1e-3', state=finished, name~tiny; all hold."
        ),
    ] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="NAME", help="best, lr, seconds…; -NAME: highest first.")
    ] = None,
    group: Annotated[
        bool, typer.Option("--group", help="Runs that differ in the seed alone as one.")
    ] = False,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="NAMES", help="What to show: best,lr,seconds")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=0, help=f"Rows; 0: all. Default: {SHOWN}, with --json all.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List runs, newest first: what they differ in, how far they came, what they reached."""
    from danlu.lab.reading import table
    from danlu.lab.reading.groups import group as grouped
    from danlu.lab.reading.selection import full_name, order, select

    chosen = select(_read(folders), where or ())
    wanted = [name.strip() for name in (columns or "").split(",") if name.strip()]
    names = [full_name(name, chosen) for name in wanted] if chosen else []
    items: list[Any] = list(grouped(chosen)) if group else chosen
    if sort is not None and chosen:
        minus = "-" if sort.startswith("-") else ""
        items = order(items, f"{minus}{full_name(sort.removeprefix('-'), chosen)}")
    most = ((0 if as_json else SHOWN) if limit is None else limit) or len(items)
    if as_json:
        print_json([(table.group_json if group else table.run_json)(item) for item in items[:most]])
    elif items:
        print_table((table.group_rows if group else table.run_rows)(items[:most], names))
        if len(items) > most:
            tell(f"… and {len(items) - most:,} more; --limit 0 shows all")
    else:
        tell("no run fits" if where else "no run there")


def compare(
    sides: Annotated[
        list[str] | None,
        typer.Argument(metavar="SIDE SIDE...", help="Runs, folders of runs, or patterns in quotes."),
    ] = None,
    x: Annotated[str, typer.Option("--x", help="Of the curves: steps, time, flops or tokens.")] = "steps",
    metric: Annotated[
        str, typer.Option("--metric", help="A name in metrics.jsonl: bits_per_byte, loss, grad_norm…")
    ] = "bits_per_byte",
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write it as a page too.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Compare runs with the first: what differs, what came out at equal steps, time, FLOPs, curves."""
    from danlu.files.overwrite import check_output, write_output
    from danlu.lab.errors import LabError
    from danlu.lab.reading import report
    from danlu.lab.reading.comparison import compare as compared
    from danlu.lab.reading.curves import UNITS

    if x not in UNITS:
        raise LabError(f"--x = {x} is none of {', '.join(UNITS)}")
    if html is not None:
        check_output(html, force)
    found = compared(sides or [], metric)
    if html is not None:
        write_output(html, report.html(found, x), force)
    if as_json:
        print_json(report.to_json(found))
        return
    print_table(report.rows(found))
    say()
    print_table(report.difference_rows(found))
    say(f"\n{report.HOW}")
    for note in found.notes:
        say(f"note: {note}")
    width = min(100, shutil.get_terminal_size().columns) if on_terminal() else 80
    say()
    say_drawn(report.curves_text(found, x, width, on_terminal()))
    if html is not None:
        say(f"drawn in {html}")


def _read(folders: list[Path] | None) -> list[Run]:
    from danlu.lab.reading.index import read_runs

    places = folders or [Path(name) for name in USUAL if Path(name).is_dir()]
    missing = [str(place) for place in places if not place.is_dir()]
    if missing or not places:
        from danlu.lab.errors import LabError

        if missing:
            raise LabError(f"{missing[0]} is no folder; name a run's folder or a folder of runs")
        raise LabError(
            f"there is no {' or '.join(USUAL)} here: name a folder of runs, or make a run (danlu train tiny)"
        )
    start, told = time.monotonic(), False

    def progress(done: int, of: int) -> None:
        nonlocal told
        if done % 64 == 0 and sys.stderr.isatty() and time.monotonic() - start > PATIENCE:
            show_progress(f"reading runs: {done:,} of {of:,}")
            told = True

    found = read_runs(places, progress)
    if told:
        show_progress("")
    return found
