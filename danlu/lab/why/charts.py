"""Figures of what moved: a line by seed, and layers over steps of both sides on one scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from danlu.draw import Chart
from danlu.draw.maps import over
from danlu.inspection.table import in_words, known, plus
from danlu.lab.why.courses import Course, course

Pair = tuple[Path, Path]


def figures(
    moved: Sequence[Mapping[str, Any]], pairs: Mapping[int, Pair], names: tuple[str, str]
) -> Iterator[Chart]:
    """Of each statistic a chart of ratios by seed; and of the statistics of layers, once each, a map for each
    side. ``pairs``: folders of baseline and variant, by seed; ``names``: of the sides."""
    courses = {seed: (course(b), course(v)) for seed, (b, v) in pairs.items()}
    for one in moved:
        yield by_seed(one, courses)
    for statistic in dict.fromkeys(one["name"].partition("/")[0] for one in moved if "/" in one["name"]):
        yield from maps(statistic, list(courses.values()), names)


def by_seed(one: Mapping[str, Any], courses: Mapping[int, tuple[Course, Course]]) -> Chart:
    """The variant's value over the baseline's, a line for each seed."""
    name, add = one["name"], plus(one["name"])
    chart = Chart(
        "updates", "variant / baseline", log_y=True, height=260, title=in_words(name), caption=one["when"]
    ).rule(y=1)
    if one["left"] is not None:
        chart.rule(x=one["left"], label="leaves the band")
    for seed, (before, after) in courses.items():
        steps = sorted(before.get(name, {}).keys() & after.get(name, {}).keys())
        ratios = [(after[name][s] + add) / (before[name][s] + add) for s in steps]
        chart.line(steps, ratios, f"seed {seed}")
    return chart


def maps(statistic: str, courses: Sequence[tuple[Course, Course]], names: tuple[str, str]) -> Iterator[Chart]:
    """Layers over steps, means over seeds, of baseline and variant on one scale."""
    grids = [_grid(statistic, [pair[side] for pair in courses]) for side in (0, 1)]
    about = known(statistic)
    if about is None or not all(grids):
        return
    for grid, name in zip(grids, names, strict=True):
        yield over(
            grid, x="step", label=statistic, title=f"{statistic}, {name}", log=about.log, beside=grids,
            caption=f"Mean over seeds. Both sides have one scale. {about.text}.",
        )  # fmt: skip


def _grid(statistic: str, courses: Sequence[Course]) -> dict[str, dict[float, float]]:
    start = f"{statistic}/"
    keys = [key for key in courses[0] if key.startswith(start) and not key.endswith("/out")]
    return {
        key[len(start) :]: {
            step: fmean(one[key][step] for one in courses)
            for step in sorted(set.intersection(*(set(one.get(key, {})) for one in courses)))
        }
        for key in keys
    }
