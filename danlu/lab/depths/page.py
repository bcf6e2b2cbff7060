"""The page of ``danlu depth``: how the change grows, and what happens from layer to layer."""

from __future__ import annotations

from collections.abc import Sequence

from danlu.draw import Chart, Table, page
from danlu.lab.depths.compared import Arm, slopes, table

BY_LAYER = (
    ("gradient", "norm of the gradient of the layer's weights", True),
    ("stream", "root mean square of the stream", True),
    ("cosine", "cosine of two rows at one position", False),
    ("gain", "χ, mean squared singular value of the layer", True),
)


def html(arms: Sequence[Arm], said: str) -> str:
    """The page; ``said``: the experiment and the update in words."""
    deepest = max(one.layers for one in arms[0].found)
    inside = [_by_layer(arms, name, what, log, deepest) for name, what, log in BY_LAYER]
    return page(
        "Depth",
        [
            ("", [said, *(f"Warning: {text}" for arm in arms for text in arm.warnings)]),
            ("The change of the output by one update", [_changes(arms), Table(slopes(arms))]),
            (f"From layer to layer, {deepest} layers", inside),
            ("All numbers", [Table(table(arms))]),
        ],
    )


def _changes(arms: Sequence[Arm]) -> Chart:
    chart = Chart(
        "layers",
        "change",
        caption="Root mean square of the change of the last normed stream by one update; lines: c·layersᵖ, "
        "fitted where half of the update makes half of the change.",
        log_x=True,
        log_y=True,
    )
    for colour, arm in enumerate(arms):
        layers = [one.layers for one in arm.found]
        label = arm.name if arm.slope is None else f"{arm.name}, p = {arm.slope:.2f}"
        chart.dots(layers, [one.change for one in arm.found], label, colour=colour)
        if arm.line is not None:
            power, factor = arm.line
            chart.line(layers, [factor * n**power for n in layers], colour=colour)
    return chart


def _by_layer(arms: Sequence[Arm], name: str, what: str, log: bool, layers: int) -> Chart:
    chart = Chart("layer", what, log_y=log)
    for colour, arm in enumerate(arms):
        values = next(getattr(one, name) for one in arm.found if one.layers == layers)
        first = layers + 1 - len(values)  # of what is before the first layer, 0
        chart.line(range(first, first + len(values)), values, arm.name, colour=colour)
    return chart
