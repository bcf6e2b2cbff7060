"""Points of the plane in panels side by side, all on one scale with equal axes, as SVG."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

from danlu.draw import palette
from danlu.draw.figure import Figure
from danlu.draw.phrases import Words, words
from danlu.draw.scale import Scale
from danlu.draw.xml import px, text

SIDE, LEFT, TOP, BELOW, GAP, RIGHT = 300, 44, 34, 30, 26, 12  # pixels of a panel, and around it
ACROSS = 3  # panels of a row, at most
_ROOM = 1.3  # the frame is so many times as wide as what is in the first panel

HEAD, SPREAD = 0.35, 0.45  # of an arrow: its head's share of the length, and the angle to either side
LEAST = 1.0  # pixels, below which an arrow has no head

Point = tuple[float, float]
Arrow = tuple[Point, Point]  # from, to


class _Panel(NamedTuple):
    name: str
    clouds: list[tuple[int, list[Point]]]
    arrows: list[Arrow]


class Scatter(Figure):
    """Panels of points, or of arrows. The first, in which the data belong, says what the frame is; points
    beyond it are counted. ``title``, ``caption``: as of a chart."""

    def __init__(self, *, title: str = "", caption: str = "") -> None:
        self.title, self.caption = title, caption
        self._across = ACROSS
        self._words: Words = words("en")
        self._panels: list[_Panel] = []

    def panel(
        self,
        name: str,
        clouds: Iterable[tuple[int, Sequence[Point]]] = (),
        arrows: Iterable[Arrow] = (),
    ) -> Self:
        """A panel: clouds of points, each with the number of its colour; arrows, which must be finite and
        begin in the frame."""
        self._panels.append(_Panel(name, [(colour, list(points)) for colour, points in clouds], [*arrows]))
        return self

    @property
    def frame(self) -> tuple[float, float, float, float]:
        """Of the first panel's points: least and largest x, then y, as far apart as each other."""
        first = self._panels[0].clouds if self._panels else []
        return around([point for _, points in first for point in points])

    def sized(self, width: int) -> Scatter:
        """With as many panels beside each other as there is room for, without its title."""
        other = copy.copy(self)
        other.title = ""
        other._across = max(1, min(ACROSS, (width - LEFT - RIGHT + GAP) // (SIDE + GAP)))
        return other

    def reworded(self, words: Words) -> Scatter:
        other = copy.copy(self)
        other.english, other._words = self, words
        other.title, other.caption = words(self.title), words(self.caption)
        other._panels = [panel._replace(name=words(panel.name)) for panel in self._panels]
        return other

    def svg(self) -> str:
        count, head = max(1, len(self._panels)), 24 if self.title else 0
        columns, rows = min(count, self._across), -(-count // self._across)
        width = LEFT + columns * SIDE + (columns - 1) * GAP + RIGHT
        height = head + rows * (TOP + SIDE + BELOW)
        said = text(self.title or self.caption or " and ".join(panel.name for panel in self._panels))
        parts = [opening(width, height, said)]
        if self.title:
            parts.append(f'<text x="{LEFT}" y="22" font-size="15">{text(self.title)}</text>')
        for i, (name, clouds, arrows) in enumerate(self._panels):
            row, column = divmod(i, self._across)
            left, top = LEFT + column * (SIDE + GAP), head + TOP + row * (TOP + SIDE + BELOW)
            x, y = scales(self.frame, left, top)
            parts.append(f'<text x="{left}" y="{top - 10}" font-size="13">{text(name)}</text>')
            parts.append(grid(x, y, labelled=column == 0))
            if arrows:
                parts.append(f'<g class="{palette.name(1)}">{_drawn(arrows, x, y)}</g>')
            beyond = 0
            for colour, points in clouds:
                inside = [p for p in points if within(p, self.frame)]
                beyond += len(points) - len(inside)
                parts.append(f'<g class="{palette.name(colour)}">{cloud(inside, x, y)}</g>')
            if beyond:
                said = self._words(f"{beyond:,} beyond the frame")
                at = f'x="{left + SIDE}" y="{top - 10}" text-anchor="end" font-size="11" fill="currentColor"'
                parts.append(f'<g class="muted"><text {at}>{text(said)}</text></g>')
        return "".join([*parts, "</svg>"])


def opening(width: int, height: int, said: str) -> str:
    """The beginning of an SVG with the palette's style; ``said``: what it is, for those who do not see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="danlu" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{said}" '
        f'font-family="system-ui,sans-serif" font-size="12" fill="currentColor">{palette.STYLE}'
    )


def around(points: Sequence[Point]) -> tuple[float, float, float, float]:
    """A square frame with some room around points; of none, from −1 to 1."""
    known = [(x, y) for x, y in points if abs(x) < 1e150 and abs(y) < 1e150] or [(-1.0, -1.0), (1.0, 1.0)]
    xs, ys = [x for x, _ in known], [y for _, y in known]
    least = 1e-6 * max(map(abs, (*xs, *ys)))  # below which numbers are too far from 0 to be told apart
    half = max(max(xs) - min(xs), max(ys) - min(ys), least) / 2 * _ROOM or 1.0
    x, y = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2
    return x - half, x + half, y - half, y + half


def within(point: Point, frame: tuple[float, float, float, float]) -> bool:
    """Whether a point, which may be no number, is inside."""
    return frame[0] <= point[0] <= frame[1] and frame[2] <= point[1] <= frame[3]


def scales(
    frame: tuple[float, float, float, float], left: float, top: float, side: float = SIDE
) -> tuple[Scale, Scale]:
    """Across and up, of a square panel."""
    across = Scale(frame[:2], left, left + side, room=0)
    return across, Scale(frame[2:], top + side, top, room=0)


def grid(across: Scale, up: Scale, *, labelled: bool = True) -> str:
    """Lines at round values; their labels below, and to the left where ``labelled``."""
    lines, labels = [], []
    for tick in across.ticks(5):
        at = across.at(tick.value)
        lines.append(f"M{px(at)} {px(up.end)}V{px(up.begin)}")
        labels.append(
            f'<text x="{px(at)}" y="{px(up.begin + 16)}" text-anchor="middle">{text(tick.label)}</text>'
        )
    for tick in up.ticks(5):
        at = up.at(tick.value)
        lines.append(f"M{px(across.begin)} {px(at)}H{px(across.end)}")
        if labelled:
            where = f'x="{px(across.begin - 6)}" y="{px(at + 4)}" text-anchor="end"'
            labels.append(f"<text {where}>{text(tick.label)}</text>")
    return f'<path class="grid" d="{"".join(lines)}" fill="none"/>{"".join(labels)}'


def cloud(points: Sequence[Point], across: Scale, up: Scale) -> str:
    """Points as one path: a dot is a line of no length with round ends. The more there are, the lighter."""
    d = "".join(f"M{px(across.at(x))} {px(up.at(y))}h0" for x, y in points)
    opacity = 0.8 if len(points) <= 200 else 0.55 if len(points) <= 1000 else 0.35
    return (
        f'<path d="{d}" fill="none" stroke="currentColor" stroke-width="3.4" stroke-linecap="round" '
        f'stroke-opacity="{opacity}"/>'
    )


def arrows(points: Sequence[Point], vectors: Sequence[Point], longest: float) -> list[Arrow]:
    """A field as arrows from its points, all of them in one proportion to its vectors, so that the longest is
    ``longest``, in the unit of the points. Those that are not finite are left out."""
    known = [(p, v) for p, v in zip(points, vectors, strict=True) if math.isfinite(math.hypot(*v))]
    largest = max((math.hypot(*v) for _, v in known), default=0.0)
    scale = longest / largest if largest else 0.0
    return [((x, y), (x + scale * a, y + scale * b)) for (x, y), (a, b) in known]


def _drawn(arrows: Sequence[Arrow], across: Scale, up: Scale) -> str:
    """Arrows as one path: a line each, and a head, which shrinks with it."""
    d = []
    for begin, end in arrows:
        (x, y), (a, b) = ((across.at(p[0]), up.at(p[1])) for p in (begin, end))
        d.append(f"M{px(x)} {px(y)}L{px(a)} {px(b)}")
        if math.hypot(a - x, b - y) >= LEAST:
            (u, v), (w, z) = (_turned(HEAD * (x - a), HEAD * (y - b), side) for side in (SPREAD, -SPREAD))
            d.append(f"M{px(a + u)} {px(b + v)}L{px(a)} {px(b)}L{px(a + w)} {px(b + z)}")
    style = 'fill="none" stroke="currentColor" stroke-width="1.1" stroke-linecap="round"'
    return f'<path d="{"".join(d)}" {style}/>'


def _turned(x: float, y: float, angle: float) -> Point:
    cosine, sine = math.cos(angle), math.sin(angle)
    return cosine * x - sine * y, sine * x + cosine * y
