"""How verbs speak: results on stdout, plain when piped, coloured YAML on a terminal.

Nothing else here prints: what a terminal would obey in names, samples and messages is escaped in this module.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from danlu.cli.columns import GAP, cells, fit, padded, widths
from danlu.files.escape import escape, escape_json
from danlu.files.numbers import rounded, scientific

if TYPE_CHECKING:
    from danlu.draw.phrases import Words

Force = Annotated[bool, typer.Option("--force", help="Overwrite a file that danlu did not write.")]


def on_terminal() -> bool:
    """Whether stdout is a terminal that may be coloured (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say(text: str = "") -> None:
    """A line, or several, of the result."""
    print(escape(text), flush=True)


def speak(text: str = "") -> None:
    """A line, or several, of the result, in the language of who asks."""
    say(_words()(text))


def spoken(rows: Sequence[Sequence[str]], names: Collection[int] = ()) -> list[list[str]]:
    """A table in that language, headings first; ``names``: the columns whose cells are names, which stay."""
    words = _words()
    return [
        [cell if i and j in names else words(cell) for j, cell in enumerate(row)]
        for i, row in enumerate(rows)
    ]


def label(name: str, said: str, width: int = 11, indent: str = "  ") -> None:
    """A line with what it is of at its left, in that language."""
    ((name, said),) = spoken([(name, said)])
    say(indent + padded(name, width) + said)


def _words() -> Words:
    from danlu.draw.language import language
    from danlu.draw.phrases import words

    return words(language())


def tell(text: str) -> None:
    """A line, or several, for the person at the terminal: on stderr."""
    print(escape(text), file=sys.stderr, flush=True)


def inform(text: str) -> None:
    """The same in the language of who asks."""
    tell(_words()(text))


def show_progress(text: str) -> None:
    """A line on a terminal's stderr that the next one takes the place of, in the language of who asks."""
    print(f"\r\x1b[K{escape(_words()(text), cell=True)}", end="", file=sys.stderr, flush=True)


def say_exactly(text: str) -> None:
    """A text that danlu did not write: byte for byte, but escaped on a terminal."""
    print(escape(text) if sys.stdout.isatty() else text)


def say_drawn(text: str) -> None:
    """What ``danlu.draw.terminal`` drew: it has colours of its own, and has escaped its labels."""
    print(text)


def print_json(verb: str | None, value: Any) -> None:
    """One JSON document, ``signed`` by the verb if there is one. Not-a-number has no JSON and is refused."""
    value = value if verb is None else signed(verb, value)
    print(escape_json(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)))


def signed(verb: str, value: Any) -> Any:
    """``value`` with ``schema``, the name and version of what the verb prints: an object says it, of a list
    each item. One that says which it is stays as it is."""
    from danlu.cli.schemas import name

    if isinstance(value, list):
        return [signed(verb, one) for one in value]
    return {"schema": name(verb), **value}


def print_yaml(text: str) -> None:
    """YAML, coloured on a terminal, byte for byte elsewhere."""
    if not on_terminal():
        print(escape(text) if sys.stdout.isatty() else text, end="")
        return
    text = escape(text)
    from rich.console import Console
    from rich.syntax import Syntax

    Console(highlight=False).print(
        Syntax(text.rstrip("\n"), "yaml", theme="ansi_dark", background_color="default")
    )


def print_table(
    rows: Sequence[Sequence[str]],
    indent: str = "",
    *,
    shorten: Collection[int] = (),
    drop: Sequence[int] = (),
) -> None:
    """Columns under one another. On a terminal that is too narrow the cells of the columns ``shorten`` are
    shortened, then the columns ``drop`` left out, in that order, which is said; last, lines are cut."""
    if not rows:
        return
    rows = [[escape(cell, cell=True) for cell in row] for row in rows]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    left_out: list[str] = []
    if width is not None:
        rows, left_out = fit(rows, width - len(indent), shorten, drop)
    sizes = widths(rows)
    for row in rows:
        line = indent + GAP.join(map(padded, row, sizes)).rstrip()
        while width is not None and cells(line) > width:
            line = f"{line[:-2]}…"
        print(line)
    if left_out:
        inform(f"left out, since the terminal is too narrow: {', '.join(left_out)}")


def short(value: Any) -> str:
    """A value as it can be typed after ``field=``, and short: 300B, 6e-5, none. No digit is lost."""
    match value:
        case None | () | []:
            return "none"
        case bool():
            return str(value).lower()
        case str():
            return value
        case int():
            return rounded(value, 4) if value >= 10**6 and value == float(f"{value:.4g}") else str(value)
        case float():
            if value and abs(value) < 1e-2:
                return scientific(value)
            return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
        case dict():
            said = {key: part for key, part in value.items() if part not in (None, ())}
            return f"{{{', '.join(f'{key}: {short(part)}' for key, part in said.items())}}}"
        case list() | tuple():
            return f"[{', '.join(short(part) for part in value)}]"
    return str(value)
