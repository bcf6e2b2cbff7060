"""What a chart can show: lines, bands, dots, bars, cells, rules. Each says its points and draws itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Self

from danlu.draw import palette
from danlu.draw.phrases import Words
from danlu.draw.scale import Names, Scale, short
from danlu.draw.xml import px, text

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Mark:
    """``points``: what is shown, and counted where it cannot be; ``reach``: what else the axes must hold."""

    points: Points
    colour: int = palette.MUTED
    label: str = ""

    @property
    def reach(self) -> Points:
        return []

    def svg(self, across: Scale, up: Scale) -> str:
        raise NotImplementedError

    def reworded(self, words: Words) -> Self:
        """The same with its label and tips in other words; of a band the chart's caption says what it is."""
        said: dict[str, Any] = {"label": words(self.label)}
        if tips := getattr(self, "tips", ()):
            said["tips"] = list(map(words, tips))
        if hasattr(self, "means"):
            said["means"] = ""
        return replace(self, **said)

    def key(self) -> str:
        """Its sign in the legend, 18 by 12 pixels around (0, 0)."""
        return '<rect x="-9" y="-5" width="18" height="10" fill="currentColor"/>'


class Line(Mark):
    """A curve, broken where a point cannot be drawn."""

    def svg(self, across: Scale, up: Scale) -> str:
        parts = []
        for piece in _pieces(self.points, across, up):
            if len(piece) == 1:
                parts.append(_circle(*piece[0]))
            else:
                places = " ".join(f"{px(x)},{px(y)}" for x, y in _thinned(piece))
                parts.append(f'<polyline points="{places}" fill="none"/>')
        tip = f"<title>{text(self.label)}</title>" if self.label else ""
        style = f'fill="currentColor" stroke="currentColor" stroke-width="1.6"{palette.dash(self.colour)}'
        return f'<g {style} stroke-linejoin="round">{tip}{"".join(parts)}</g>'

    def key(self) -> str:
        return f'<path d="M-9 0H9" stroke="currentColor" stroke-width="2"{palette.dash(self.colour)}/>'


@dataclass(frozen=True)
class Band(Mark):
    """The area between ``points`` and ``tops``, two curves over the same x; ``means``: what lies within."""

    tops: Points = field(default_factory=list)
    means: str = ""

    @property
    def reach(self) -> Points:
        return self.tops

    def svg(self, across: Scale, up: Scale) -> str:
        places: list[tuple[Points, Points]] = [([], [])]
        for low, high in zip(self.points, self.tops, strict=True):
            ends = [(across.at(x), up.at(y)) for x, y in (low, high)]
            if all(map(math.isfinite, (*ends[0], *ends[1]))):
                places[-1][0].append(ends[0])
                places[-1][1].append(ends[1])
            elif places[-1][0]:
                places.append(([], []))
        around = (" ".join(f"{px(x)},{px(y)}" for x, y in (*low, *reversed(high))) for low, high in places)
        areas = "".join(f'<polygon points="{area}"/>' for area in around if area)
        return f'<g fill="currentColor" fill-opacity="0.2">{areas}</g>'

    def key(self) -> str:
        return '<rect x="-9" y="-5" width="18" height="10" fill="currentColor" fill-opacity="0.3"/>'


@dataclass(frozen=True)
class Dots(Mark):
    """Points, each with the interval of its x or y where there is one."""

    x_ends: Sequence[tuple[float, float]] = ()  # (low, high) of each
    y_ends: Sequence[tuple[float, float]] = ()
    tips: Sequence[str] = ()

    @property
    def reach(self) -> Points:
        across = [(end, y) for (_, y), ends in zip(self.points, self.x_ends, strict=False) for end in ends]
        up = [(x, end) for (x, _), ends in zip(self.points, self.y_ends, strict=False) for end in ends]
        return across + up

    def svg(self, across: Scale, up: Scale) -> str:
        parts = []
        for i, (x, y) in enumerate(self.points):
            at, height = across.at(x), up.at(y)
            if not math.isfinite(at) or not math.isfinite(height):
                continue
            whiskers = ""
            if self.x_ends:
                low, high = _ends(self.x_ends[i], across, at)
                whiskers += f"M{px(low)} {px(height)}H{px(high)}"
            if self.y_ends:
                low, high = _ends(self.y_ends[i], up, height)
                whiskers += f"M{px(at)} {px(low)}V{px(high)}"
            drawn = f'<path d="{whiskers}" stroke="currentColor" stroke-width="1.4"/>' if whiskers else ""
            tip = self.tips[i] if self.tips else f"{self.label} {_said(x, across)}, {_said(y, up)}".strip()
            parts.append(f"<g><title>{text(tip)}</title>{drawn}{_circle(at, height)}</g>")
        return f'<g fill="currentColor" fill-opacity="0.8">{"".join(parts)}</g>'

    def key(self) -> str:
        return '<circle r="3.5" fill="currentColor"/>'


@dataclass(frozen=True)
class Bars(Mark):
    """Bars from zero; lying where ``lying``, else standing."""

    lying: bool = False
    tips: Sequence[str] = ()

    @property
    def reach(self) -> Points:
        return [(0.0, y) if self.lying else (x, 0.0) for x, y in self.points]

    def svg(self, across: Scale, up: Scale) -> str:
        along, beside = (across, up) if self.lying else (up, across)
        pairs = [(x, y) if self.lying else (y, x) for x, y in self.points]  # length, place
        centres = sorted({beside.at(place) for _, place in pairs if beside.can(place)})
        gaps = [right - left for left, right in pairwise(centres)]
        widest = abs(beside.end - beside.begin) / (max(1, len(beside.ticks())) if not gaps else 1)
        thick = 0.7 * min([*gaps, widest])
        foot = along.at(0.0) if along.can(0.0) else along.begin
        parts = []
        for i, (length, place) in enumerate(pairs):
            end, centre = along.at(length), beside.at(place)
            if not math.isfinite(end) or not math.isfinite(centre):
                continue
            start, size, edge = min(foot, end), abs(end - foot), centre - thick / 2
            x, y, width, height = (start, edge, size, thick) if self.lying else (edge, start, thick, size)
            tip = self.tips[i] if self.tips else f"{_said(place, beside)}: {short(length)}"
            parts.append(
                f'<rect x="{px(x)}" y="{px(y)}" width="{px(width)}" height="{px(height)}">'
                f"<title>{text(tip)}</title></rect>"
            )
        return f'<g fill="currentColor" fill-opacity="0.85">{"".join(parts)}</g>'


@dataclass(frozen=True)
class Rule(Mark):
    """A straight line across the chart, at the one of ``at``'s x and y that is no NaN."""

    at: tuple[float, float] = (math.nan, math.nan)

    @property
    def reach(self) -> Points:
        return [self.at]

    def svg(self, across: Scale, up: Scale) -> str:
        at, height = across.at(self.at[0]), up.at(self.at[1])
        if math.isfinite(at):
            d = f"M{px(at)} {px(up.begin)}V{px(up.end)}"
        elif math.isfinite(height):
            d = f"M{px(across.begin)} {px(height)}H{px(across.end)}"
        else:
            return ""
        tip = f"<title>{text(self.label)}</title>" if self.label else ""
        return f'<path d="{d}" stroke="currentColor" stroke-dasharray="4 3">{tip}</path>'

    def key(self) -> str:
        return '<path d="M-9 0H9" stroke="currentColor" stroke-dasharray="4 3"/>'


def _pieces(points: Points, across: Scale, up: Scale) -> list[Points]:
    """Runs of points that can be drawn, as places."""
    pieces: list[Points] = [[]]
    for x, y in points:
        at, height = across.at(x), up.at(y)
        if math.isfinite(at) and math.isfinite(height):
            pieces[-1].append((at, height))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _thinned(piece: Points) -> Iterator[tuple[float, float]]:
    """No more of a curve than can be seen: of the points in half a pixel the first, lowest, highest, last."""
    start = 0
    while start < len(piece):
        end = start + 1
        column = math.floor(2 * piece[start][0])
        while end < len(piece) and math.floor(2 * piece[end][0]) == column:
            end += 1
        within = range(start, end)
        kept = {start, end - 1}
        if end - start > 2:
            kept |= {min(within, key=lambda k: piece[k][1]), max(within, key=lambda k: piece[k][1])}
        yield from (piece[k] for k in sorted(kept))
        start = end


def _ends(ends: tuple[float, float], scale: Scale, centre: float) -> tuple[float, float]:
    """The places of an interval's ends: unknown (NaN) at its centre, too far for the axis at the border."""
    low, high = (
        centre if math.isnan(end) else scale.at(end) if scale.can(end) else border
        for end, border in zip(ends, (scale.begin, scale.end), strict=True)
    )
    return low, high


def _said(value: float, scale: Scale) -> str:
    if isinstance(scale, Names):
        return scale.names[round(value)] if 0 <= round(value) < len(scale.names) else ""
    return short(value)


def _circle(x: float, y: float) -> str:
    return f'<circle cx="{px(x)}" cy="{px(y)}" r="3" stroke="none"/>'
