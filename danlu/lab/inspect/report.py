"""Inspections as a page: maps of layers and statistics, of layers and steps, tables, definitions."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence

from danlu.draw import Chart, Table, page
from danlu.draw.maps import by_name, over
from danlu.inspection.table import STATISTICS, in_words, plus
from danlu.lab.inspect.look import Inspection
from danlu.lab.inspect.words import TITLES, about, head, layers_of, tables

MOST = 12  # differences of two sides that are told

Part = str | Table | Chart


def report(sides: Sequence[Inspection], *, over_steps: bool = False, language: str | None = None) -> str:
    """The page, self-contained HTML: of one or two folders, or of one run's checkpoints (``over_steps``)."""
    names = list(dict.fromkeys(str(side.folder) for side in sides))
    sections: list[tuple[str, Sequence[Part]]] = [("", [*map(about, sides), f"Command: {_command(sides)}"])]
    last = sides[-1:] if over_steps else sides
    if over_steps:
        sections.append(("Layers over steps", list(step_maps(sides))))
    if len(last) == 2:
        sections.append(("What differs most", [differences(*last)]))
    for group, title in TITLES.items():
        if maps := list(layer_maps(last, group)):
            sections.append((_capital(title), maps))
    sections += [(f"Numbers: {title}", [Table(rows)]) for title, rows in tables(last)]
    there = {key.partition("/")[0] for side in sides for key in side.values}
    rows = [("statistic", "what"), *((n, one.text) for n, one in STATISTICS.items() if n in there)]
    note = "A name with -rest, or a column with −0, is the same without position 0."
    sections.append(("Definitions", [Table(rows), note]))
    return page(f"Inside {' and '.join(names)}", sections, language)


def layer_maps(sides: Sequence[Inspection], group: str) -> Iterator[Chart]:
    """Layers × statistics of a group, a map for each side, on the same scales."""
    names = [n for n, one in STATISTICS.items() if one.group == group]
    names = [also for n in names for also in (n, f"{n}-rest") if any(side.of(also) for side in sides)]
    grids = [
        {
            layer: row
            for layer in layers_of(sides, names)
            if (row := {n: side.of(n)[layer] for n in names if layer in side.of(n)})
        }
        for side in sides
    ]
    if not names or not any(grids):
        return
    log = [STATISTICS[n.removesuffix("-rest")].log for n in names]
    for side, grid in zip(sides, grids, strict=True):
        yield by_name(
            grid, names, log=log, heads=[head(n) for n in names], beside=grids,
            title=f"{side.folder}, step {side.step}" if len(sides) > 1 else "",
            caption="Each column has a scale of its own. Rest the pointer on a cell for its value.",
        )  # fmt: skip


def step_maps(sides: Sequence[Inspection]) -> Iterator[Chart]:
    """Layers × steps, a map for each statistic, of a run's checkpoints."""
    for name, one in STATISTICS.items():
        for what in (name, f"{name}-rest"):
            grid: dict[str, dict[float, float]] = {}
            for side in sides:
                for layer, value in side.of(what).items():
                    if layer != "out":
                        grid.setdefault(layer, {})[side.step] = value
            if grid:
                rest = " without position 0" if what.endswith("-rest") else ""
                yield over(grid, x="step", label=head(what), title=what, log=one.log, caption=one.text + rest)


def differences(one: Inspection, other: Inspection) -> Table:
    """The statistics of which the two sides are furthest apart, by the ratio."""
    rows = []
    for key in one.values.keys() & other.values.keys():
        a, b = (side.values[key] + plus(key) for side in (one, other))
        if a > 0 and b > 0 and math.isfinite(a) and math.isfinite(b) and a != b:
            rows.append((abs(math.log2(b / a)), key))
    rows.sort(key=lambda row: (-row[0], row[1]))
    told = [(in_words(k), f"{one.values[k]:.3g}", f"{other.values[k]:.3g}") for _, k in rows[:MOST]]
    return Table([("statistic", str(one.folder), str(other.folder)), *told])


def _command(sides: Sequence[Inspection]) -> str:
    folders = dict.fromkeys(str(side.folder) for side in sides)
    first = sides[0]
    steps = " --checkpoints" if len(sides) > len(folders) else ""
    return f"danlu inspect {shlex.join(folders)}{steps} --rows {first.rows} --context {first.size}"


def _capital(title: str) -> str:
    return title[:1].upper() + title[1:]
