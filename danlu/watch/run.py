"""One run: its facts, curves, what is inside, what it differs in from another, what it made."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu.draw import Chart
from danlu.draw.maps import over
from danlu.files.errors import FileError
from danlu.files.json import finite, read_object
from danlu.files.numbers import duration, rounded
from danlu.files.read import MIB
from danlu.inspection.table import known
from danlu.lab.errors import LabError
from danlu.lab.reading.curves import UNITS, Curve, check_axis, metrics_in, read_curve
from danlu.lab.reading.run import METRICS, SUMMARY, Run
from danlu.lab.reading.table import said
from danlu.train.folder import SAMPLES
from danlu.watch.page import envelope
from danlu.watch.place import Place

DRAWN = 64 * MIB  # of metrics that are drawn while somebody waits
LONGEST = 10_000  # letters of a sample
AXES = {"steps": "steps", "time": "active time", "flops": "FLOPs", "tokens": "tokens"}
PICTURES, CLOUDS = {".png": "image/png", ".svg": "image/svg+xml"}, (".npy",)
MOST_POINTS = 5_000
MOST_FILES = 60


def facts(run: Run) -> list[tuple[str, str]]:
    """What is known of a run, by name."""
    metric = run.metric_name or "metric"
    unit = f" {run.unit}" if run.unit else ""
    rows = [
        ("state", run.state),
        ("why", run.error or ""),
        ("steps", f"{run.steps:,}" if run.steps else ""),
        (metric, "" if run.metric is None else f"{run.metric:.4f}{unit}"),
        ("best", "" if run.best is None else f"{run.best:.4f}{unit} at step {run.best_step:,}"),
        ("training loss", "" if run.loss is None else f"{run.loss:.4f}"),
        (run.counted, f"{run.units:,}" if run.units else ""),
        ("active time", duration(run.seconds)),
        ("FLOPs", rounded(run.flops) if run.flops and math.isfinite(run.flops) else ""),
        ("parameters", f"{run.parameters:,}" if run.parameters else ""),
        ("code", {"same": "the code that is here"}.get(run.code, run.code)),
        ("scored on", ", ".join(run.yardstick)),
        *((name, f"{value:.4g}") for name, value in sorted(run.measures.items()) if name != metric),
    ]
    return [(name, value) for name, value in rows if value]


def drawable(run: Run) -> bool:
    """Whether its metrics are few enough to be drawn while somebody waits."""
    path = run.path / METRICS
    return not path.exists() or path.stat().st_size <= DRAWN


def measured(run: Run) -> list[str]:
    """The names of what it measured; none where that is too much to be read while somebody waits."""
    return metrics_in(run.path) if drawable(run) else []


def names(run: Run, measured: Sequence[str]) -> list[str]:
    """What can be drawn of a run, the loss and the held-out metric first."""
    first = [name for name in ("loss", run.metric_name) if name]
    found = [name for name in measured if "/" not in name]
    return [name for name in first if name in found] + [name for name in found if name not in first]


@dataclass(frozen=True)
class Axes:
    """``x``: steps, time, flops or tokens; ``linear``: no logarithms."""

    x: str = "steps"
    linear: bool = False


def curve(run: Run, metric: str, x: str) -> Curve:
    """Raises ``LabError`` for a name or an axis that is not there, ``RunError`` for damage."""
    check_axis(x)
    if not drawable(run):
        raise LabError(f"{run.name}: its metrics are larger than {DRAWN / MIB:g} MiB, too large for a page")
    return read_curve(run.path, metric, x, run.counted)


def _empty(runs: Sequence[tuple[str, Run]], metric: str, axes: Axes) -> Chart:
    """A chart with the axes for them."""
    first = runs[0][1]
    unit = first.counted if axes.x == "tokens" else UNITS.get(axes.x, axes.x)
    higher = any(run.better == "higher" for _, run in runs if run.metric_name == metric)
    return Chart(unit, metric, log_x=not axes.linear, log_y=not (axes.linear or higher), height=320)


def chart(runs: Sequence[tuple[str, Run]], metric: str, axes: Axes) -> Chart:
    """The metric of runs, by what they are called. Raises as ``curve``."""
    drawn = _empty(runs, metric, axes)
    for label, run in runs:
        found = curve(run, metric, axes.x)
        drawn.line([x for x, _ in found], [y for _, y in found], label if len(runs) > 1 else "")
    return drawn


def series(runs: Sequence[tuple[str, Run]], metric: str, axes: Axes) -> dict[str, Any]:
    """The same for a script that draws it: thinned, what is not finite as None."""
    drawn, found = _empty(runs[:1], metric, axes), []
    for label, run in runs:
        points = envelope(curve(run, metric, axes.x))
        found.append({"label": label, "x": [x for x, _ in points], "y": [finite(y) for _, y in points]})
    return {"x": drawn.x, "y": metric, "log_x": drawn.log_x, "log_y": drawn.log_y, "series": found}


# ---------------------------------------------------------------- inside


def statistics(measured: Sequence[str]) -> list[str]:
    """The statistics of layers among them."""
    found = dict.fromkeys(name.partition("/")[0] for name in measured if "/" in name)
    return [name for name in found if known(name) is not None]


def inside(run: Run, statistic: str) -> Chart:
    """A statistic of each layer over steps, by colour. Raises ``LabError`` where it has none of that name."""
    from danlu.lab.why.courses import course  # with every specification

    about, start = known(statistic), f"{statistic}/"
    grid: dict[str, dict[float, float]] = {
        name[len(start) :]: {float(step): value for step, value in values.items()}
        for name, values in course(run.path).items()
        if name.startswith(start)
    }
    if about is None or not grid:
        raise LabError(f"{run.name} wrote down no {statistic!r}; train.internals_every=N does")
    return over(grid, x="step", label=statistic, log=about.log, caption=about.text)


# ---------------------------------------------------------------- configuration


def differences(one: Run, other: Run) -> list[tuple[str, str, str]]:
    """The fields that are not the same, with both values."""
    names = sorted({**one.fields, **other.fields})
    return [
        (name, _said(one, name), _said(other, name))
        for name in names
        if one.fields.get(name, ...) != other.fields.get(name, ...)
    ]


def _said(run: Run, name: str) -> str:
    return said(run.fields[name]) if name in run.fields else "–"


def fields(run: Run) -> list[tuple[str, str]]:
    """Every field of the experiment."""
    return [(name, said(value)) for name, value in run.fields.items()]


# ---------------------------------------------------------------- what it made


def sample(run: Run) -> str:
    """The text that its summary shows; "" where there is none."""
    try:
        found = read_object(run.path / SUMMARY).get("sample")
    except FileError:
        return ""
    return found[:LONGEST] if isinstance(found, str) else ""


def made(place: Place, run: Run) -> list[str]:
    """Names of the pictures and point clouds in the run's folder and its ``samples``, by the numbers in them
    (``step-100.png``), at most ``MOST_FILES``: the last."""
    found = []
    for folder in (run.path, run.path / SAMPLES):
        if folder.is_dir() and place.holds(folder):
            found += [p for p in folder.iterdir() if p.suffix in (*PICTURES, *CLOUDS) and p.is_file()]
    return [str(p.relative_to(run.path)) for p in sorted(found, key=_by_number)][-MOST_FILES:]


def _by_number(path: Path) -> tuple[Any, ...]:
    return (*(int(word[:18]) for word in re.findall(r"[0-9]+", path.stem)),), path.name


def cloud(path: Path) -> list[tuple[float, float]]:
    """The first two columns of the points in a ``.npy`` file, at most ``MOST_POINTS``. Raises ``LabError``
    for another array."""
    import numpy as np

    try:
        points = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise LabError(f"{path.name} holds no points: {error}") from None
    if points.ndim != 2 or points.shape[1] < 2 or points.dtype.kind not in "fiu":
        raise LabError(f"{path.name} holds numbers of shape {points.shape}, no points of the plane")
    return [(float(x), float(y)) for x, y in points[:MOST_POINTS, :2]]
