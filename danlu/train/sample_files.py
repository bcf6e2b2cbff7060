"""Samples as files: arrays, tables, figures, and a page on which they come about."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from danlu.draw import Chart, Table, page
from danlu.draw.figure import Drawing, Figure
from danlu.draw.language import language
from danlu.draw.moving import MovingPictures, MovingPoints
from danlu.draw.page import Part, Written
from danlu.draw.phrases import words
from danlu.draw.picture import Picture, png
from danlu.draw.scatter import Point, Scatter, arrows
from danlu.files.errors import cannot_write
from danlu.files.overwrite import MARK, check_output
from danlu.files.write import write_atomically
from danlu.objectives import Sample
from danlu.objectives.pictures import first_two
from danlu.spec.errors import either
from danlu.train.errors import RunError
from danlu.train.samples import Samples

_PICTURES = (".png", ".svg", ".html")  # endings of what holds no numbers
_BAR, _GAP = 480, 2  # pixels: how wide a grid is made at least, and between images
_WIDE = 1.5  # how much wider than the data what moves is shown at most


def save(samples: Samples, path: Path, *, force: bool = False) -> None:
    """Write samples to ``path``, by its ending. Raises as ``check``."""
    check(path, force)
    made = _WRITERS[path.suffix.lower()](samples)
    write_atomically(path, made.encode() if isinstance(made, str) else made)


def check(path: Path, force: bool = False) -> None:
    """Raises ``RunError`` for an ending that is not known and ``FileError`` for a file that must not be
    overwritten, before anything is made."""
    if path.suffix.lower() not in _WRITERS:
        raise RunError(f"{path}: samples are written as {either(_WRITERS)}; name such a file")
    check_output(path, force)


def moves(path: Path) -> bool:
    """Whether the file shows how samples come about."""
    return path.suffix.lower() == ".html"


def save_shown(sample: Sample, run: Path, path: Path, *, force: bool = False) -> None:
    """Write what a run of another kind shows, as ``drawing`` draws it. Raises as ``check``, and ``RunError``
    where that is no picture."""
    drawn, suffix = drawing(sample, f"{run}"), path.suffix.lower()
    if drawn is None:
        raise RunError(f"{run} shows {sample.kind} and no pictures to write; --json prints the numbers")
    endings = _PICTURES if isinstance(drawn, Picture) else _PICTURES[1:]
    if suffix not in endings:
        what = "pictures" if isinstance(drawn, Picture) else "points"
        raise RunError(f"{path}: {what} are written as {either(endings)}; name such a file, or see --json")
    if suffix == ".html":
        made = page(f"What {run} shows", [("", [drawn])]).encode()
    elif isinstance(drawn, Picture) and suffix == ".png":
        made = drawn.data
    else:
        made = _marked(drawn).encode()
    check_output(path, force)
    write_atomically(path, made)


def put(sample: Sample, folder: Path, step: int) -> Path | None:
    """Draw what a run shows at a step into ``folder``, over what is there: ``step-N.png``, or of points
    ``step-N.svg``. Where it is; None of a text. Raises ``FileError``."""
    drawn = drawing(sample, f"step {step:,}")
    if drawn is None:
        return None
    path = folder / f"step-{step}{'.png' if isinstance(drawn, Picture) else '.svg'}"
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    write_atomically(path, drawn.data if isinstance(drawn, Picture) else _marked(drawn).encode())
    return path


def drawing(sample: Sample, title: str) -> Drawing | None:
    """What a run shows: of pictures a row of each, of one kind a square; of points a panel of each; None of a
    text."""
    if sample.points:
        return points({name: (rows, None) for name, rows in sample.points.items()}, title)
    if not sample.pictures:
        return None
    count = min(map(len, sample.pictures.values()))  # held-out data may be fewer than what is drawn
    rows = [row[:count] for row in sample.pictures.values()]
    columns = count if len(rows) > 1 else None
    caption = ", ".join(sample.pictures) if len(rows) > 1 else ""
    return pictures(np.concatenate(rows), columns=columns, title=title, caption=caption)


def figure(samples: Samples, title: str = "") -> Drawing:
    """Points beside data that were held out, and of points of the plane the field; images in a grid."""
    caption = f"{len(samples.data):,} samples in {samples.steps} steps of {samples.solver}"
    if samples.pictures:
        return pictures(samples.data, _range(samples), title=title, caption=caption)
    told = samples.classes is not None
    data = samples.beside, samples.beside_classes if told else None
    drawn = points({"held-out data": data, "samples": (samples.data, samples.classes)}, title, caption)
    for one in samples.fields:
        assert isinstance(drawn, Scatter)
        drawn.panel(one.name, arrows=arrows(_pairs(one.points), _pairs(one.vectors), one.cell))
    return drawn


def points(named: Mapping[str, tuple[Any, Any]], title: str = "", caption: str = "") -> Scatter | Chart:
    """Points [n, numbers], each with their classes [n] or None, in panels on the scale of the first; of
    single numbers how many there are."""
    first, _ = next(iter(named.values()))
    if first.shape[1] == 1:
        return _densities({name: rows[:, 0] for name, (rows, _) in named.items()}, title, caption)
    if first.shape[1] > 2:
        said = first_two(first.shape[1])
        caption = f"{caption}, {said}" if caption else said
    scatter = Scatter(title=title, caption=caption)
    for place, (name, (rows, classes)) in enumerate(named.items()):
        scatter.panel(name, _clouds(rows, classes, place))
    return scatter


def _densities(named: Mapping[str, Any], title: str, caption: str) -> Chart:
    """Of single numbers, how many there are."""
    whole = np.concatenate(list(named.values()))
    edges = np.histogram_bin_edges(whole, min(60, 5 + len(whole) // 20))
    chart = Chart("value", "density", title=title, caption=caption)
    for name, numbers in named.items():
        heights, _ = np.histogram(numbers, edges, density=True)
        chart.line((edges[:-1] + edges[1:]) / 2, heights, name)
    return chart


def _clouds(points: Any, classes: Any, colour: int) -> list[tuple[int, list[Point]]]:
    """Points by class, each in a colour; of no class, all in one."""
    if classes is None:
        return [(colour, _pairs(points))]
    return [(int(one), _pairs(points[classes == one])) for one in np.unique(classes)]


def _pairs(points: Any) -> list[Point]:
    return [(float(x), float(y)) for x, y in points[:, :2]]


def pictures(
    images: NDArray[Any],
    between: tuple[float, float] = (0.0, 1.0),
    *,
    columns: int | None = None,
    title: str = "",
    caption: str = "",
) -> Picture:
    """Images [n, channels, height, width] in a grid of so many ``columns`` (left out: as many as rows), from
    the darkest to the brightest value ``between``. Of 2 channels the first is shown, of 4 the first three."""
    n, channels, height, width = images.shape
    shown = images[:, : 3 if channels >= 3 else 1]
    low, high = between
    pixels = ((shown - low) / (high - low) * 255).clip(0, 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    columns = columns or int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    larger = max(1, _BAR // (columns * width))
    cells = pixels.repeat(larger, 1).repeat(larger, 2)
    tall, wide = height * larger + _GAP, width * larger + _GAP
    grid = np.full((rows * tall - _GAP, columns * wide - _GAP, cells.shape[3]), 128, np.uint8)
    for place, cell in enumerate(cells):
        top, left = place // columns * tall, place % columns * wide
        grid[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    size = grid.shape[1], grid.shape[0]
    return Picture(png(grid.tobytes(), *size, grid.shape[2]), *size, title, caption)


def _range(samples: Samples) -> tuple[float, float]:
    """0 to 1, or what the data reach beyond."""
    if not len(samples.beside):
        return 0.0, 1.0
    return min(0.0, float(samples.beside.min())), max(1.0, float(samples.beside.max()))


def moving(samples: Samples) -> Written:
    """The way of the first samples from noise. What is much wider than the data is drawn smaller."""
    assert samples.way is not None
    way, beside = samples.way, samples.beside.astype(np.float64)
    centre = beside.mean(0)

    def spreads(frames: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of each frame, by medians, since noise may have heavy tails."""
        return np.sqrt(np.median((frames - centre) ** 2, axis=tuple(range(1, frames.ndim))))

    spread = float(spreads(beside[None])[0]) or 1.0
    smaller = np.minimum(1.0, _WIDE * spread / np.maximum(spreads(way), 1e-300))
    drawn = centre + (way - centre) * smaller.reshape(-1, *(1 for _ in way.shape[1:]))
    caption = f"{way.shape[1]:,} samples on their way from noise to data"
    if (smaller < 1).any():
        caption += "; the first steps are drawn smaller, to fit"
    if samples.pictures:
        return MovingPictures([pictures(frame, _range(samples)) for frame in drawn], caption)
    if way.shape[2] == 1:  # numbers lie on a line; their places up are by order of birth
        heights = np.linspace(-1, 1, way.shape[1])[:, None] * spread
        drawn = np.concatenate([drawn, np.broadcast_to(heights, (len(drawn), *heights.shape))], 2)
        return MovingPoints([_pairs(frame) for frame in drawn], (), caption)
    return MovingPoints([_pairs(frame) for frame in drawn], _pairs(beside), caption)


def parts(samples: Samples) -> list[Part]:
    """Samples as a notebook shows them: how they were made, and the figure."""
    made = samples.record()
    rows: list[tuple[object, ...]] = [(name, value) for name, value in made.items() if name != "classes"]
    return [Table([("samples", ""), *rows]), figure(samples)]


def _html(samples: Samples) -> str:
    table, drawn = parts(samples)
    heading = "Samples" if samples.pictures else "Beside data that were held out"
    made: list[tuple[str, Sequence[Part]]] = [("", [table]), (heading, [drawn])]
    if samples.way is not None:
        made.insert(1, ("From noise to data", [moving(samples)]))
    if samples.pictures:
        made.append(("Held-out data", [pictures(samples.beside, _range(samples))]))
    return page(f"Samples of {samples.run}", made)


def _svg(samples: Samples) -> str:
    return _marked(figure(samples, f"Samples of {samples.run}"))


def _marked(drawn: Drawing) -> str:
    """As a file of its own, in the language of who asks."""
    said = words(language())
    drawn = drawn.reworded(said) if isinstance(drawn, Figure | Picture) else drawn
    return drawn.svg().replace(">", f">{MARK}", 1)


def _png(samples: Samples) -> bytes:
    if not samples.pictures:
        raise RunError(f"{samples.run} generates points, and a .png is for images; name a .svg file")
    return pictures(samples.data, _range(samples)).data


def _npy(samples: Samples) -> bytes:
    file = io.BytesIO()
    np.save(file, samples.data, allow_pickle=False)
    return file.getvalue()


def _npz(samples: Samples) -> bytes:
    """With danlu's mark as the archive's comment, which readers of arrays pass over."""
    file = io.BytesIO()
    if samples.classes is None:
        np.savez(file, samples=samples.data)
    else:
        np.savez(file, samples=samples.data, classes=samples.classes)
    with ZipFile(file, "a") as archive:
        archive.comment = MARK.encode()
    return file.getvalue()


def _csv(samples: Samples) -> str:
    """A line a sample: its numbers, row by row of an image, and its class."""
    file = io.StringIO()
    write = csv.writer(file, lineterminator="\n").writerow
    flat, classes = samples.data.reshape(len(samples.data), -1), samples.classes
    write([*(f"x{i}" for i in range(flat.shape[1])), *([] if classes is None else ["class"])])
    for place, row in enumerate(flat.tolist()):
        write([*row, *([] if classes is None else [samples.names[int(classes[place])]])])
    return file.getvalue()


_WRITERS: dict[str, Callable[[Samples], str | bytes]] = {
    ".npy": _npy, ".npz": _npz, ".csv": _csv, ".svg": _svg, ".png": _png, ".html": _html,
}  # fmt: skip
