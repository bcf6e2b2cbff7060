"""A chart: lines, bands, dots with intervals, bars and cells over two axes, as SVG."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Any, Self

from danlu.draw import palette
from danlu.draw.cells import Cells
from danlu.draw.figure import Figure
from danlu.draw.marks import Band, Bars, Dots, Line, Mark, Points, Rule
from danlu.draw.phrases import Words, words
from danlu.draw.scale import Names, Scale, number
from danlu.draw.xml import cut, letters, px, text

LETTER = 6.6  # about the width of one at 12 pixels
LEGEND_ROW, LINE = 18, 16
LONGEST_NAME, LONGEST_LABEL = 34, 60  # letters
DIRECT, NEAR = 6, 0.8  # lines that have their names at their ends, which lie in the last fifth of the chart
APART = 14  # pixels from one of these names to the next
SHAPE = 0.68  # the height of a figure of a paper to its width, at most


class Chart(Figure):
    """Two axes, and what is drawn over them; ``svg()`` is the drawing, ``caption`` what a page writes below.

    ``x``, ``y``: what the axes say. ``log_x``, ``log_y``: logarithmic axes. ``x_names``, ``y_names``: an axis
    of names instead, the i-th at i. Numbers may be floats, anything that becomes one, or None. What is not
    finite, or not above zero on a logarithmic axis, is left out, and the chart says how many. Each method
    that draws returns the chart. ``colour``: its number in the palette (``palette.MUTED``: grey); by itself
    the next one, or that of what has the same label already.
    """

    def __init__(
        self,
        x: str = "",
        y: str = "",
        *,
        title: str = "",
        caption: str = "",
        log_x: bool = False,
        log_y: bool = False,
        x_names: Sequence[str] = (),
        y_names: Sequence[str] = (),
        width: int = 640,
        height: int = 380,
    ) -> None:
        self.x, self.y, self.title, self._caption = x, y, title, caption
        self.log_x, self.log_y = log_x and not x_names, log_y and not y_names
        self.x_names = [cut(name, LONGEST_NAME) for name in x_names]
        self.y_names = [cut(name, LONGEST_NAME) for name in y_names]
        self.width, self.height = width, height
        self._marks: list[Mark] = []
        self._next = 0
        self._words: Words = words("en")

    @property
    def caption(self) -> str:
        """What is written below: it names every band."""
        means = [mark.means for mark in self._marks if isinstance(mark, Band) and mark.means]
        said = "; ".join(dict.fromkeys(means))
        named = [f"Band{'s' if len(means) > 1 else ''}: {said}."] if means else []
        return " ".join(filter(None, (self._caption, *named)))

    @caption.setter
    def caption(self, said: str) -> None:
        self._caption = said

    def line(self, x: Iterable[Any], y: Iterable[Any], label: str = "", *, colour: int | None = None) -> Self:
        """A curve through the points in their order."""
        return self._add(Line(_points(x, y), self._colour(label, colour), label))

    def band(
        self,
        x: Iterable[Any],
        low: Iterable[Any],
        high: Iterable[Any],
        label: str = "",
        *,
        means: str,
        colour: int | None = None,
    ) -> Self:
        """The area between two curves; with the label of a line it takes that line's colour. ``means``: what
        lies within, such as 95 % intervals, which the caption says."""
        x = list(x)
        return self._add(Band(_points(x, low), self._colour(label, colour), label, _points(x, high), means))

    def dots(
        self,
        x: Iterable[Any],
        y: Iterable[Any],
        label: str = "",
        *,
        x_ends: Iterable[tuple[Any, Any]] = (),
        y_ends: Iterable[tuple[Any, Any]] = (),
        tips: Sequence[str] = (),
        colour: int | None = None,
    ) -> Self:
        """Points. ``x_ends``, ``y_ends``: the interval (low, high) of each; an infinite end is drawn to the
        border. ``tips``: what is said where the pointer rests, of each."""
        ends = [[(number(low), number(high)) for low, high in given] for given in (x_ends, y_ends)]
        return self._add(Dots(_points(x, y), self._colour(label, colour), label, ends[0], ends[1], tips))

    def bars(
        self,
        values: Iterable[Any],
        label: str = "",
        *,
        at: Iterable[Any] | None = None,
        tips: Sequence[str] = (),
        colour: int | None = None,
    ) -> Self:
        """Bars from zero, one for each name (``at``: at these numbers instead); lying where y has names."""
        values = list(values)
        at = range(len(values)) if at is None else at
        lying = bool(self.y_names)
        points = _points(values, at) if lying else _points(at, values)
        return self._add(Bars(points, self._colour(label, colour), label, lying, tips))

    def cells(
        self,
        x: Iterable[Any],
        y: Iterable[Any],
        values: Iterable[Iterable[Any]],
        label: str = "",
        *,
        log: bool = False,
        tips: Sequence[str] = (),
        span: Iterable[Any] = (),
    ) -> Self:
        """A surface: ``values[j][i]`` at ``x[i]``, ``y[j]``, by colour (``log``: by its logarithm). ``tips``:
        what is said where the pointer rests, row by row. ``span``: values that the colours reach to, besides
        its own: charts with one span have one scale."""
        columns, rows = [number(v) for v in x], [number(v) for v in y]
        grid = [(a, b, number(v)) for b, line in zip(rows, values, strict=True)
                for a, v in zip(columns, line, strict=True)]  # fmt: skip
        points, heights = [(a, b) for a, b, _ in grid], [v for *_, v in grid]
        across, up = (columns, self.log_x), (rows, self.log_y)
        ends = [number(v) for v in span]
        return self._add(Cells(points, palette.MUTED, label, heights, across, up, log, tips, ends))

    def rule(self, *, x: Any = None, y: Any = None, label: str = "", colour: int = palette.MUTED) -> Self:
        """A dashed line across the chart, at one x or one y."""
        return self._add(Rule([], colour, label, (number(x), number(y))))

    def sized(self, width: int) -> Chart:
        """Without its title, which is the caption's business on paper."""
        other = copy.copy(self)
        other.width, other.title = width, ""
        if not self.y_names and not any(isinstance(mark, Cells) for mark in self._marks):
            other.height = min(self.height, round(SHAPE * width))
        return other

    def reworded(self, words: Words) -> Chart:
        other = copy.copy(self)
        other.english, other._words = self, words
        other.x, other.y, other.title, other._caption = map(words, (self.x, self.y, self.title, self.caption))
        other.x_names, other.y_names = (list(map(words, names)) for names in (self.x_names, self.y_names))
        other._marks = [mark.reworded(words) for mark in self._marks]
        return other

    def svg(self) -> str:
        """The drawing: well-formed XML that holds its own style, for light and dark surroundings. Up to six
        lines have their names at their ends."""
        named = self._named()
        legend = self._legend(named)
        shaded = next((mark for mark in self._marks if isinstance(mark, Cells)), None)
        top = 14 + (22 if self.title else 0) + LEGEND_ROW * len(legend)
        names_below = self._slanted()
        bottom = self.height - (30 + (LINE if self.x else 0) + names_below)
        reach = [(point, mark) for mark in self._marks for point in (*mark.points, *mark.reach)]
        ys = [y for (_, y), _ in reach]
        up = (
            Names(self.y_names, top, bottom) if self.y_names
            else Scale(ys, bottom, top, log=self.log_y)
        )  # fmt: skip
        up_ticks = up.ticks(max(3, (bottom - top) // 45))
        widest = max((letters(tick.label) for tick in up_ticks), default=1)
        left = 14 + LETTER * widest + (LINE if self.y else 0)
        beside = max((LETTER * letters(mark.label) + 10 for mark in named), default=0.0)
        right = self.width - (90 if shaded else max(18, beside))
        across = (
            Names(self.x_names, left, right) if self.x_names
            else Scale([x for (x, _), _ in reach], left, right, log=self.log_x)
        )  # fmt: skip
        said = text(self.title or self.caption or " over ".join(filter(None, (self.y, self.x))))
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="danlu" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" aria-label="{said}" '
            f'font-family="system-ui,sans-serif" font-size="12" fill="currentColor">{palette.STYLE}'
        ]
        if self.title:
            parts.append(f'<text x="{px(left)}" y="22" font-size="15">{text(self.title)}</text>')
        parts += _keys(legend, left, top)
        frame = (left, top, right, bottom)
        parts.append(_grid(across, up, up_ticks, frame, slanted=bool(names_below)))
        parts.append(_axis_labels(self.x, self.y, frame, self.height, self._left_out(across, up)))
        for mark in sorted(self._marks, key=lambda mark: isinstance(mark, Line | Dots)):
            parts.append(f'<g class="{palette.name(mark.colour)}">{mark.svg(across, up)}</g>')
        parts += _ends_named(named, across, up)
        if shaded is not None:
            parts.append(shaded.bar(right + 12, top, bottom))
        return "".join([*parts, "</svg>"])

    def _add(self, mark: Mark) -> Self:
        self._marks.append(mark)
        return self

    def _colour(self, label: str, given: int | None) -> int:
        if given is not None:
            return given
        known = next((mark.colour for mark in self._marks if label and mark.label == label), None)
        if known is not None:
            return known
        self._next += 1
        return self._next - 1

    def _named(self) -> list[Line]:
        """The lines whose names stand at their ends: all that have one, where they are few, the names short
        and the ends at the right; else none."""
        lines = {mark.label: mark for mark in self._marks if isinstance(mark, Line) and mark.label}
        others = any(isinstance(mark, Cells) for mark in self._marks)
        if not lines or others or self.x_names or self.y_names:
            return []
        across = Scale(
            [x for mark in self._marks for x, _ in (*mark.points, *mark.reach)], 0, 1, log=self.log_x
        )
        ends = [
            max((across.at(x) for x, _ in mark.points if across.can(x)), default=0.0)
            for mark in lines.values()
        ]
        longest = LETTER * max(map(letters, lines))
        few = len(lines) <= DIRECT and longest <= self.width / 4 and min(ends) >= NEAR
        return list(lines.values()) if few else []

    def _legend(self, named: Sequence[Line]) -> list[list[Mark]]:
        """One of the marks with each other label, in rows that fit."""
        marks: dict[str, Mark] = {}
        said = {line.label for line in named}
        for mark in self._marks:
            if mark.label and mark.label not in said and not isinstance(mark, Cells):
                marks.setdefault(mark.label, mark)
        rows: list[list[Mark]] = []
        room = 0.0
        for mark in marks.values():
            size = _key_width(mark)
            if size > room:
                rows.append([])
                room = self.width - 80.0
            rows[-1].append(mark)
            room -= size
        return rows

    def _slanted(self) -> int:
        """The height that names below need where they don't fit side by side and are slanted; else 0."""
        longest = max(map(letters, self.x_names), default=0) * LETTER
        fits = longest <= (self.width - 80) / max(1, len(self.x_names))
        return 0 if fits else int(longest * 0.6)

    def _left_out(self, across: Scale, up: Scale) -> str:
        """How much cannot be drawn, and why, in words."""
        count = 0
        for mark in self._marks:
            heights = mark.values if isinstance(mark, Cells) else [0.0] * len(mark.points)
            shades = mark.shades(0, 1) if isinstance(mark, Cells) else None
            count += sum(
                not (across.can(x) and up.can(y)) or (shades is not None and not shades.can(value))
                for (x, y), value in zip(mark.points, heights, strict=True)
            )
        if not count:
            return ""
        log = self.log_x or self.log_y or any(isinstance(m, Cells) and m.log for m in self._marks)
        return self._words(f"{count} left out: not finite{' or not above zero' if log else ''}")


def _points(x: Iterable[Any], y: Iterable[Any]) -> Points:
    return [(number(a), number(b)) for a, b in zip(x, y, strict=True)]


def _ends_named(lines: Sequence[Line], across: Scale, up: Scale) -> list[str]:
    """The names of lines beside their last points, apart enough to be read."""
    ends = []
    for line in lines:
        places = [(across.at(x), up.at(y)) for x, y in line.points]
        known = [place for place in places if all(map(math.isfinite, place))]
        if known:
            ends.append((max(known), line))
    ends.sort(key=lambda end: end[0][1])
    heights = _apart([y for (_, y), _ in ends], up.end, up.begin)
    return [
        f'<g class="{palette.name(line.colour)}"><text x="{px(across.end + 6)}" y="{px(y + 4)}" '
        f'fill="currentColor">{text(line.label)}</text></g>'
        for (_, line), y in zip(ends, heights, strict=True)
    ]


def _apart(heights: Sequence[float], top: float, bottom: float) -> list[float]:
    """Heights from the top down, moved so that neighbours are ``APART`` from each other and all are within:
    the middle between moving down what touches, and moving it up."""
    down = _pushed(heights, top, bottom)
    up = [-y for y in reversed(_pushed([-y for y in reversed(heights)], -bottom, -top))]
    return [(a + b) / 2 for a, b in zip(down, up, strict=True)]


def _pushed(heights: Sequence[float], top: float, bottom: float) -> list[float]:
    """Each moved away from the one before; then back, where the last has left the chart."""
    found: list[float] = []
    for height in heights:
        found.append(max([height, top, *(y + APART for y in found[-1:])]))
    for i in reversed(range(len(found))):
        found[i] = min([found[i], bottom, *(y - APART for y in found[i + 1 : i + 2])])
    return found


def _key_width(mark: Mark) -> float:
    return 40 + LETTER * min(letters(mark.label), LONGEST_LABEL)


def _keys(rows: list[list[Mark]], left: float, top: float) -> list[str]:
    """The legend, above ``top``."""
    parts = []
    for i, row in enumerate(rows):
        x, y = left, top - LEGEND_ROW * (len(rows) - i) + 4
        for mark in row:
            parts.append(
                f'<g transform="translate({px(x + 9)} {px(y)})"><g class="{palette.name(mark.colour)}">'
                f'{mark.key()}</g><text x="14" y="4">{text(cut(mark.label, LONGEST_LABEL))}</text></g>'
            )
            x += _key_width(mark)
    return parts


def _grid(
    across: Scale, up: Scale, up_ticks: Sequence[Any], frame: tuple[float, float, float, float], slanted: bool
) -> str:
    left, top, right, bottom = frame
    lines, labels = [], []
    for tick in across.ticks(max(3, int(right - left) // 75)):
        at = across.at(tick.value)
        lines.append(f"M{px(at)} {px(top)}V{px(bottom)}")
        if slanted:
            where = f'transform="translate({px(at + 4)} {px(bottom + 14)}) rotate(-35)" text-anchor="end"'
        else:
            where = f'x="{px(at)}" y="{px(bottom + 16)}" text-anchor="middle"'
        labels.append(f"<text {where}>{text(tick.label)}</text>")
    for tick in up_ticks:
        at = up.at(tick.value)
        lines.append(f"M{px(left)} {px(at)}H{px(right)}")
        labels.append(
            f'<text x="{px(left - 6)}" y="{px(at + 4)}" text-anchor="end">{text(tick.label)}</text>'
        )
    return f'<path class="grid" d="{"".join(lines)}" stroke-width="1"/>{"".join(labels)}'


def _axis_labels(x: str, y: str, frame: tuple[float, float, float, float], height: int, note: str) -> str:
    left, top, right, bottom = frame
    parts = []
    if x:
        at = f'x="{px((left + right) / 2)}" y="{px(height - 10)}"'
        parts.append(f'<text {at} text-anchor="middle">{text(x)}</text>')
    if y:
        at = f'transform="translate(14 {px((top + bottom) / 2)}) rotate(-90)"'
        parts.append(f'<text {at} text-anchor="middle">{text(y)}</text>')
    if note:
        at = f'x="{px(right)}" y="{px(top + 12)}" text-anchor="end" font-size="11"'
        parts.append(f'<g class="muted"><text {at} fill="currentColor">{text(note)}</text></g>')
    return "".join(parts)
