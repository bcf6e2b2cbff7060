"""How a verb ends that also draws: a page where one was asked for, then JSON or words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from danlu.cli.output import print_json, speak, tell

if TYPE_CHECKING:
    from danlu.draw.figure import Figure

Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Also write an HTML page.")]
FigureFile = Annotated[
    Path | None,
    typer.Option(
        "--figure", metavar="FILE", help="Also write the main figure for a paper: FILE.pdf or FILE.svg."
    ),
]
Report = Annotated[  # the same of verbs of laws
    Path | None, typer.Option("--report", metavar="FILE.html", help="Also write a page with drawings.")
]


def check(path: Path | None, force: bool) -> None:
    """Before the work: raises ``FileError`` where something is at ``path`` that may not be written over."""
    if path is not None:
        from danlu.files.overwrite import check_output

        check_output(path, force)


def check_figure(path: Path | None, force: bool) -> None:
    """The same of a figure, whose name must end in .pdf or .svg."""
    if path is not None:
        from danlu.draw.figure import check_figure as checked

        checked(path, force)


def save(figure: Figure, path: Path, force: bool) -> None:
    """Write a figure, and say its caption, which a paper has below it: on stderr."""
    from danlu.draw.figure import IN_ENGLISH
    from danlu.draw.language import language
    from danlu.draw.pdf import shown
    from danlu.draw.phrases import words

    said = words(language())
    figure = figure.reworded(said)
    figure.save(path, force=force)
    tell(said(f"figure in {path}: {figure.caption}"))
    if path.suffix == ".pdf" and figure.english is not None and not shown(figure.paper()):
        tell(said(IN_ENGLISH))


def end(
    verb: str,
    found: Callable[[], Any],
    tell: Callable[[], object],
    draw: Callable[[], str],
    *,
    path: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """After it: what ``draw`` makes goes to ``path``; what ``found`` gives is printed as the JSON of
    ``verb``, or ``tell`` says it."""
    if path is not None:
        from danlu.files.overwrite import write_output

        write_output(path, draw(), force)
    if as_json:
        print_json(verb, found())
        return
    tell()
    if path is not None:
        speak(f"drawn in {path}")
