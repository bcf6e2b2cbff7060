"""Tables in a narrow terminal: long names are shortened first, then columns that decide nothing give way."""

from __future__ import annotations

from collections.abc import Collection, Sequence

GAP = "  "
SHORT = 24  # cells of a terminal that a shortened column keeps at least

Rows = list[list[str]]


def cells(text: str) -> int:
    """How many cells of a terminal a text takes: Chinese letters and many signs take two, accents none."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def padded(text: str, size: int) -> str:
    """The text with spaces behind it, ``size`` cells wide."""
    return text + " " * (size - cells(text))


def flush(text: str, size: int) -> str:
    """The text with spaces before it, ``size`` cells wide: numbers stand to the right."""
    return " " * (size - cells(text)) + text


def shortened(text: str, size: int) -> str:
    """The text in at most ``size`` cells, its middle left out: of paths the ends differ."""
    if cells(text) <= size:
        return text
    left, right = "", ""
    for i in range(len(text)):
        more = text[: i // 2 + 1], text[len(text) - (i + 1) // 2 :]
        if cells(more[0]) + cells(more[1]) + 1 > size:
            break
        left, right = more
    return f"{left}…{right}"


def widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Of each column, in cells."""
    return [max(map(cells, column)) for column in zip(*rows, strict=True)]


def fit(
    rows: Sequence[Sequence[str]], width: int, shorten: Collection[int] = (), drop: Sequence[int] = ()
) -> tuple[Rows, list[str]]:
    """The rows in ``width`` cells as far as can be, and the headings of the columns left out.

    ``shorten``: columns whose cells may be cut to ``SHORT`` cells. Where that is not enough, the columns
    ``drop`` go, in that order, until it is.
    """
    sizes = widths(rows)
    kept = list(range(len(sizes)))
    giving = list(drop)

    def room(size: int) -> int:
        """What is left of the width where columns that may be are cut to ``size`` cells."""
        taken = sum(min(sizes[i], size) if i in shorten else sizes[i] for i in kept)
        return width - taken - len(GAP) * (len(kept) - 1)

    while giving and room(SHORT) < 0:
        kept.remove(giving.pop(0))
    size = max(sizes)
    while size > SHORT and room(size) < 0:
        size -= 1
    left_out = [rows[0][i] for i in range(len(sizes)) if i not in kept]
    return [[shortened(row[i], size) if i in shorten else row[i] for i in kept] for row in rows], left_out
