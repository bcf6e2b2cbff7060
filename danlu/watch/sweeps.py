"""A sweep: every trial as a line across its fields, what matters, where the best lies at a border."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

from danlu.draw import Chart
from danlu.draw.palette import viridis
from danlu.draw.phrases import Words, english
from danlu.draw.scale import Names, Scale, short
from danlu.draw.scatter import opening
from danlu.draw.xml import cut, px, text
from danlu.files.json import misfit
from danlu.lab.sweep.report import sentences, trials_table

WIDTH, HEIGHT, LEFT, TOP, BELOW, STEP = 720, 380, 70, 46, 24, 130  # pixels
NONE = "none"  # of a field that a point does not have: a tick of its own, so that no trial vanishes
FEW = 6  # values of a field that are ticks themselves
_NUMBER = (float, None)
SWEEP = {
    "metric": str, "unit": (str, None), "better": str, "fields": [str], "border": [{"sentence": str}],
    "trials": [{
        "number": int, "point": {...: (float, str, bool, None)}, "state": str, "value": _NUMBER, "by": str,
        "updates": int, "folders": ([str], None),
    }],
    "importance": {"by": str, "shares": {...: _NUMBER}, "pairs": {...: _NUMBER}},
    "warnings": [str], "counts": {...: int}, "study_variance": ({"sentence": str}, None),
    "best": ({"value": float, "words": [str]}, None),
    "spent": {"runs": int, "updates": int, "flops": float, "seconds": float},
}  # fmt: skip


def of(found: Any) -> dict[str, Any] | None:
    """The result of a sweep; None where it is another's."""
    return None if misfit(found, SWEEP) else dict.fromkeys(SWEEP) | found


def words(result: Mapping[str, Any]) -> list[str]:
    """What there is to say of it, the borders too."""
    return sentences(dict(result))


def rows(result: Mapping[str, Any]) -> Sequence[Sequence[object]]:
    """The trials from the best down."""
    return trials_table(dict(result)).rows


def importance(result: Mapping[str, Any]) -> Chart | None:
    """How much of the metric each field explains; None where nothing is known."""
    shares = {k: v for k, v in (result["importance"]["shares"] | result["importance"]["pairs"]).items() if v}
    if not shares:
        return None
    chart = Chart("share", y_names=list(shares), height=100 + 26 * len(shares))
    chart.caption = f"{result['importance']['by']}."
    return chart.bars(shares.values())


class Parallel:
    """Parallel coordinates: an axis a field and one for the metric, a line a trial, coloured by the metric.

    Numbers stand on a logarithmic axis where they span more than a decade. A trial that lacks a field crosses
    its axis at *none*; one that diverged ends at *diverged*, and does not stretch the metric's axis.
    ``share``: of the trials that came out best, how many are drawn.
    """

    def __init__(self, result: Mapping[str, Any], share: float = 1.0) -> None:
        self.caption = "A line for each trial, the best (yellow) on top."
        self._words: Words = english
        fields, metric = list(result["fields"]), result["metric"]
        sign = -1 if result["better"] == "higher" else 1
        known = sorted(
            (t for t in result["trials"] if t["value"] is not None), key=lambda t: -sign * t["value"]
        )
        lost = [t for t in result["trials"] if t["value"] is None]
        kept = known[len(known) - max(1, math.ceil(share * len(known))) :] if known else []
        self.trials = [*(lost if share == 1.0 else []), *kept]  # the best last: it is drawn on top
        self.sign = sign
        self.axes = [_Axis(name, [t["point"].get(name) for t in self.trials]) for name in fields]
        self.axes.append(_Axis(metric, [t["value"] for t in self.trials], missing="diverged"))
        self.values = [t["value"] for t in kept]

    def reworded(self, words: Words) -> Parallel:
        """The same with its words in another language; fields and values stay as they can be typed."""
        other = copy.copy(self)
        other._words, other.caption = words, words(self.caption)
        return other

    def svg(self) -> str:
        """The drawing."""
        words = self._words
        width = max(WIDTH, LEFT * 2 + STEP * (len(self.axes) - 1))
        bottom = HEIGHT - BELOW
        shades = Scale([self.sign * value for value in self.values], 1, 0, room=0)
        parts = [opening(width, HEIGHT, words(self.caption))]
        places = [LEFT + i * (width - 2 * LEFT) / max(1, len(self.axes) - 1) for i in range(len(self.axes))]
        scales = [axis.scale(bottom, TOP) for axis in self.axes]
        for trial in self.trials:
            points = []
            for axis, x, scale in zip(self.axes, places, scales, strict=True):
                value = trial["value"] if axis is self.axes[-1] else trial["point"].get(axis.name)
                points.append(f"{px(x)},{px(axis.at(value, scale, bottom))}")
            value = trial["value"]
            colour = "currentColor" if value is None else viridis(shades.at(self.sign * value))
            dash = ' stroke-dasharray="3 3"' if value is None else ""
            tip = ", ".join(f"{axis.name} {_said(trial['point'].get(axis.name))}" for axis in self.axes[:-1])
            came = words(trial["state"]) if value is None else f"{value:.4f}"
            said = text(f"#{trial['number']} {tip}: {came}")
            parts.append(
                f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="1.8" '
                f'stroke-opacity="0.75"{dash}><title>{said}</title></polyline>'
            )
        for axis, x, scale in zip(self.axes, places, scales, strict=True):
            parts.append(axis.svg(x, scale, bottom, words))
        return "".join([*parts, "</svg>"])


class _Axis:
    """One axis: numbers, by logarithm where they span a decade, or names; ``missing`` below where some lack
    it."""

    def __init__(self, name: str, values: Sequence[Any], missing: str = NONE) -> None:
        self.name, self.missing = name, missing
        self.lacking = any(_lacks(value) for value in values)
        there = [value for value in values if not _lacks(value)]
        self.numeric = bool(there) and all(_is_number(value) for value in there)
        self.values: list[Any] = sorted(there if self.numeric else {_said(value) for value in there})
        self.log = self.numeric and min(there) > 0 and max(there) >= 10 * min(there)

    def scale(self, bottom: float, top: float) -> Scale:
        """From values to places, the missing ones below."""
        low = bottom - (34 if self.lacking else 0)
        return Scale(self.values, low, top, log=self.log) if self.numeric else Names(self.values, low, top)

    def at(self, value: Any, scale: Scale, bottom: float) -> float:
        """Where a value crosses."""
        if _lacks(value):
            return bottom - 4
        return scale.at(value if self.numeric else self.values.index(_said(value)))

    def svg(self, x: float, scale: Scale, bottom: float, words: Words) -> str:
        """The axis with its ticks; its name above."""
        parts = [
            f'<path class="grid" d="M{px(x)} {TOP}V{px(bottom)}" stroke-width="2"/>',
            f'<text x="{px(x)}" y="{TOP - 24}" text-anchor="middle" font-weight="600">'
            f"{text(cut(self.name.rpartition('.')[2] or self.name, 18))}</text>",
        ]
        if self.log:
            said = text(words("log"))
            parts.append(
                f'<text x="{px(x)}" y="{TOP - 10}" text-anchor="middle" font-size="10">{said}</text>'
            )
        few = sorted(set(self.values)) if self.numeric else []
        ticks = [(scale.at(tick.value), tick.label) for tick in scale.ticks(6)]
        if 0 < len(few) <= FEW:
            ticks = [(scale.at(value), short(value)) for value in few]
        if self.lacking:
            ticks.append((bottom - 4, self.missing if self.missing == NONE else words(self.missing)))
        for y, label in ticks:
            parts.append(
                f'<path class="grid" d="M{px(x - 4)} {px(y)}h8" stroke-width="2"/>'
                f'<text x="{px(x + 7)}" y="{px(y + 4)}" font-size="11">{text(cut(label, 16))}</text>'
            )
        return "".join(parts)


def _lacks(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and not math.isfinite(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _said(value: Any) -> str:
    return NONE if _lacks(value) else short(value) if _is_number(value) else str(value)
