"""An inspection as tables for a terminal: layers below one another, statistics side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from danlu.inspection.table import STATISTICS, in_words
from danlu.lab.inspect.look import Inspection

TITLES = {
    "stream": "the stream after each block",
    "outliers": "outliers of the stream, and of position 0",
    "attention": "attention",
    "hidden": "hidden units of the feed-forward layers",
    "parts": "weights and gradients by part",
    "output": "output",
}
MORE = " −0"  # behind the head of a column: without position 0


def tables(sides: Sequence[Inspection]) -> Iterator[tuple[str, list[list[str]]]]:
    """A title and rows for each group of statistics that there are. Of two sides a cell has both values."""
    for group, title in TITLES.items():
        names = [name for name, one in STATISTICS.items() if one.group == group]
        names = [also for name in names for also in (name, f"{name}-rest") if any(s.of(also) for s in sides)]
        if group == "output":
            there = [n for n in ("logits", "branch", *names) if _there(sides, n, "out")]
            if not there:
                continue
            rows = [[in_words(f"{n}/out"), *_cells(sides, n, "out")] for n in there]
            yield title, [["", *(str(side.folder) for side in sides)], *rows]
            continue
        layers = layers_of(sides, names)
        if layers:
            rows = [[layer, *(" | ".join(_cells(sides, n, layer)) for n in names)] for layer in layers]
            yield title, [["layer", *map(head, names)], *rows]


def layers_of(sides: Sequence[Inspection], names: Sequence[str]) -> list[str]:
    """The layers that have one of the statistics, in the order of the one that most have."""
    every = sorted((side.of(name) for side in sides for name in names), key=len, reverse=True)
    return [layer for layer in dict.fromkeys(layer for of in every for layer in of) if layer != "out"]


def head(name: str) -> str:
    """The head of a statistic's column."""
    return STATISTICS[name.removesuffix("-rest")].short + (MORE if name.endswith("-rest") else "")


def about(one: Inspection) -> str:
    """What was looked at, in a line."""
    return (
        f"{one.folder}, step {one.step}: {one.parameters:,} parameters, objective {one.objective}; "
        f"{one.rows} held-out examples of {one.size}, in {one.precision}; {one.seconds:.1f} s"
    )


def _there(sides: Sequence[Inspection], name: str, layer: str) -> bool:
    return any(layer in side.of(name) for side in sides)


def _cells(sides: Sequence[Inspection], name: str, layer: str) -> list[str]:
    found = [side.of(name).get(layer) for side in sides]
    return ["–" if value is None else f"{value:.3g}" for value in found]
