"""Curves in a terminal, in letters or in braille."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from danlu.draw.scale import Scale, Tick, number
from danlu.files.escape import escape

ACROSS, DOWN = 2, 4  # dots of one braille letter
# The bit of the dot in each column and row of U+2800.
BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
COLOURS = (34, 33, 32, 35, 36, 31)  # ANSI

Series = tuple[str, Iterable[Any], Iterable[Any]]  # label, x, y


def text_chart(
    series: Sequence[Series],
    *,
    x: str = "",
    y: str = "",
    width: int = 72,
    height: int = 16,
    log_x: bool = False,
    log_y: bool = False,
    colour: bool = False,
) -> str:
    """The curves as lines of text, ``width`` letters wide, ``height`` of them the drawing.

    One curve, or any number in ``colour`` (ANSI), is drawn in braille, several without colour in letters that
    the lines below explain. What is not finite, or not above zero on a logarithmic axis, is left out: said.
    """
    curves = [
        (escape(label, cell=True), [(number(a), number(b)) for a, b in zip(xs, ys, strict=True)])
        for label, xs, ys in series
    ]
    braille = colour or len(curves) < 2
    fine_x, fine_y = (ACROSS, DOWN) if braille else (1, 1)
    points = [point for _, curve in curves for point in curve]
    up = Scale((b for _, b in points), height * fine_y - 1, 0, log=log_y, room=0)
    up_ticks = {round(up.at(tick.value)) // fine_y: tick.label for tick in up.ticks(max(2, height // 4))}
    margin = max((len(label) for label in up_ticks.values()), default=0) + 1
    columns = max(10, width - margin - 2)
    across = Scale((a for a, _ in points), 0, columns * fine_x - 1, log=log_x, room=0)
    cells: dict[tuple[int, int], tuple[int, int]] = {}  # column, row → bits, curve
    for k, (_, curve) in enumerate(curves):
        for a, b in _dots(curve, across, up):
            cell = (a // fine_x, b // fine_y)
            bits, before = cells.get(cell, (0, k))
            bits = bits if before == k or not colour else 0
            cells[cell] = (bits | BITS[a % fine_x][b % fine_y], k)
    lines = [y] if y else []
    for row in range(height):
        drawn = "".join(_letter(cells.get((column, row)), braille, colour) for column in range(columns))
        label = up_ticks.get(row, "")
        lines.append(f"{label.rjust(margin)} {'┤' if label else '│'}{drawn}".rstrip())
    lines.append(f"{' ' * margin} └{'─' * columns}")
    ticks = across.ticks(max(2, columns // 12))
    lines.append(_below(ticks, [round(across.at(t.value)) // fine_x + margin + 2 for t in ticks], x, width))
    beside = " " * (margin + 2)
    lines += [f"{beside}{_key(k, colour, braille)} {name}" for k, (name, _) in enumerate(curves) if name]
    if left_out := sum(not (across.can(a) and up.can(b)) for a, b in points):
        why = "not finite or not above zero" if log_x or log_y else "not finite"
        lines.append(f"{beside}{left_out} left out: {why}")
    return "\n".join(lines)


def _dots(curve: Sequence[tuple[float, float]], across: Scale, up: Scale) -> Iterator[tuple[int, int]]:
    """The dots of a curve, in a straight line from point to point."""
    before: tuple[float, float] | None = None
    for a, b in curve:
        here = (across.at(a), up.at(b))
        if not all(map(math.isfinite, here)):
            before = None
            continue
        start = before or here
        steps = max(1, math.ceil(max(abs(here[0] - start[0]), abs(here[1] - start[1]))))
        for k in range(steps + 1):
            share = k / steps
            yield (
                round(start[0] + share * (here[0] - start[0])),
                round(start[1] + share * (here[1] - start[1])),
            )
        before = here


def _letter(cell: tuple[int, int] | None, braille: bool, colour: bool) -> str:
    if cell is None:
        return " "
    bits, curve = cell
    letter = chr(0x2800 + bits) if braille else LETTERS[curve % len(LETTERS)]
    return f"\x1b[{COLOURS[curve % len(COLOURS)]}m{letter}\x1b[0m" if colour else letter


def _key(curve: int, colour: bool, braille: bool) -> str:
    if not braille:
        return LETTERS[curve % len(LETTERS)]
    return f"\x1b[{COLOURS[curve % len(COLOURS)]}m──\x1b[0m" if colour else "──"


def _below(ticks: Sequence[Tick], places: Sequence[int], name: str, width: int) -> str:
    """The labels of the lower axis that don't touch one another, and its name at the end if it fits."""
    line = ""
    for tick, place in zip(ticks, places, strict=True):
        start = max(0, place - len(tick.label) // 2)
        if start > len(line) or not line:
            line = line.ljust(start) + tick.label
    return f"{line}  {name}".rstrip() if len(line) + len(name) + 2 <= width + 20 else line
