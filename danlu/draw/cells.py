"""A surface over two axes as coloured cells, and the bar that says what the colours mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from danlu.draw.marks import Mark, Points
from danlu.draw.palette import viridis
from danlu.draw.scale import LARGEST, SMALLEST, Scale, short
from danlu.draw.xml import px, text


@dataclass(frozen=True)
class Cells(Mark):
    """``points``: the centre of each cell; ``values``: the height of the surface there; ``tips``: what is
    said where the pointer rests, of each; ``span``: values that the colours reach to, besides."""

    values: Sequence[float] = ()
    columns: tuple[Sequence[float], bool] = ((), False)  # their centres; whether the axis is logarithmic
    rows: tuple[Sequence[float], bool] = ((), False)
    log: bool = False  # colours by the logarithm
    tips: Sequence[str] = ()
    span: Sequence[float] = ()

    @property
    def reach(self) -> Points:
        xs = [edge for ends in edges(*self.columns).values() for edge in ends]
        ys = [edge for ends in edges(*self.rows).values() for edge in ends]
        return [*((x, math.nan) for x in xs), *((math.nan, y) for y in ys)]

    def shades(self, begin: float, end: float) -> Scale:
        """From values to places on the bar."""
        return Scale([*self.values, *self.span], begin, end, log=self.log, room=0)

    def svg(self, across: Scale, up: Scale) -> str:
        shades, xs, ys = self.shades(0, 1), edges(*self.columns), edges(*self.rows)
        parts = []
        tips = self.tips or [f"{short(x)}, {short(y)}: {short(v)}" for (x, y), v in self._all]
        for ((x, y), value), tip in zip(self._all, tips, strict=True):
            if x not in xs or y not in ys or not shades.can(value):
                continue
            left, right = sorted(map(across.at, xs[x]))
            top, bottom = sorted(map(up.at, ys[y]))
            parts.append(
                f'<rect x="{px(left)}" y="{px(top)}" width="{px(right - left)}" height="{px(bottom - top)}" '
                f'fill="{viridis(shades.at(value))}">'
                f"<title>{text(tip)}</title></rect>"
            )
        return f'<g shape-rendering="crispEdges">{"".join(parts)}</g>'

    @property
    def _all(self) -> list[tuple[tuple[float, float], float]]:
        return list(zip(self.points, self.values, strict=True))

    def bar(self, x: float, top: float, bottom: float) -> str:
        """The bar of colours at ``x``, 12 wide, with its ticks to the right."""
        shades, steps = self.shades(bottom, top), 24
        height = (bottom - top) / steps
        parts = [
            f'<rect x="{px(x)}" y="{px(bottom - (k + 1) * height)}" width="12" height="{px(height + 0.5)}" '
            f'fill="{viridis((k + 0.5) / steps)}"/>'
            for k in range(steps)
        ]
        parts += [
            f'<text x="{px(x + 16)}" y="{px(shades.at(tick.value) + 4)}">{text(tick.label)}</text>'
            for tick in shades.ticks(5)
        ]
        middle = (top + bottom) / 2
        parts.append(
            f'<text transform="translate({px(x + 66)} {px(middle)}) rotate(90)" text-anchor="middle">'
            f"{text(self.label)}</text>"
        )
        return "".join(parts)


def edges(centres: Sequence[float], log: bool) -> dict[float, tuple[float, float]]:
    """Each centre's cell: half the way to its neighbours, at the border as far outwards as inwards."""
    known = sorted({c for c in centres if (SMALLEST if log else -LARGEST) <= c <= LARGEST})
    inner = [math.log10(c) if log else c for c in known]
    if not inner:
        return {}
    middles = [(left + right) / 2 for left, right in pairwise(inner)]
    first, last = (middles[0], middles[-1]) if middles else (inner[0] + 0.5, inner[0] - 0.5)
    ends = [2 * inner[0] - first, *middles, 2 * inner[-1] - last]
    outer = [10.0 ** max(-300.0, min(end, 300.0)) for end in ends] if log else ends
    return dict(zip(known, pairwise(outer), strict=True))
