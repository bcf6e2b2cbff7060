"""Samples of a run that generates points or images: made as it is asked, and kept with how they were made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.draw.scatter import around
from danlu.objectives import Generation, build
from danlu.objectives.generation import NONE
from danlu.spec.errors import did_you_mean
from danlu.spec.words import validate
from danlu.train.errors import RunError
from danlu.train.load import LoadedRun

POINTS, IMAGES = 400, 36  # samples, where nothing else is said
MOST = 2**24  # numbers of all samples together: they are made at once
GRID = 14  # arrows beside each other in a field
FRAMES = 200  # of a way that is kept, at most; SHOWN samples of each
SHOWN = 400
_UNTOLD = "the run's network is told no classes; train one with objective.conditional=true"


@dataclass(frozen=True, eq=False)
class FieldAt:
    """Which way samples go at one time or noise level, which ``name`` says: ``vectors`` at ``points``, both
    [n, 2], of a grid of squares as wide as ``cell``; as the run's data are."""

    name: str
    points: NDArray[np.float64]
    vectors: NDArray[np.float64]
    cell: float


@dataclass(frozen=True, eq=False)
class Samples:
    """What ``run``, a folder, generated at ``step``.

    ``data``: float64 [count, …], scaled as the run's data are; ``classes``: int64 [count], None where the
    network is told none; ``names``: of all classes. ``steps`` of ``solver`` asked the network ``evaluations``
    times for the whole batch, twice as often with guidance. ``way``: the first samples on their way from
    noise, [frames, some, …]; None where it was not asked for. ``beside``: as many held-out data, if there
    are, and ``beside_classes``. ``fields``: of points of the plane, from noise to data.
    """

    run: str
    step: int
    data: NDArray[np.float64]
    classes: NDArray[np.int64] | None
    names: Sequence[str]
    seed: int
    steps: int
    solver: str
    guidance: float
    evaluations: int
    beside: NDArray[np.float32]
    beside_classes: NDArray[np.int64]
    way: NDArray[np.float64] | None = None
    fields: Sequence[FieldAt] = ()

    @property
    def pictures(self) -> bool:
        """Whether they are images [count, channels, height, width]."""
        return self.data.ndim == 4

    def record(self) -> dict[str, Any]:
        """How they were made, in JSON."""
        said = {"count": len(self.data), "seed": self.seed, "steps": self.steps, "solver": self.solver}
        classes = None if self.classes is None else [self.names[one] for one in self.classes.tolist()]
        return said | {"evaluations": self.evaluations, "guidance": self.guidance, "classes": classes}


def generate(
    run: LoadedRun,
    folder: str | os.PathLike[str],
    *,
    count: int | None = None,
    seed: int = 0,
    steps: int | None = None,
    solver: str | None = None,
    guidance: float | None = None,
    label: str | int | None = None,
    way: bool = False,
) -> Samples:
    """``count`` samples of the run in ``folder`` (left out: 400 points or 36 images), of the noise of a seed.

    ``steps``, ``solver`` and ``guidance`` take the place of ``objective.steps``, ``.sampler`` and
    ``.guidance``. ``label``: the class of all samples, by name or number; left out: all in turn. ``way``:
    keep how the first samples come about. Raises ``RunError`` for a run that generates nothing and for
    what the run's objective cannot do, ``SpecError`` for a solver that does not fit it.
    """
    asked: Any = run.experiment.objective
    if not isinstance(run.objective, Generation):
        raise RunError(f"the run's objective is {asked.kind}, which generates neither points nor images")
    described, objective = _as_asked(run, steps, solver, guidance)
    count = (POINTS if len(objective.shape) == 1 else IMAGES) if count is None else count
    most = MOST // objective.numbers
    if not 0 < count <= most:
        raise RunError(f"count = {count}; allowed: 1 to {most:,} at once")
    names = getattr(objective.source, "names", None) or tuple(map(str, range(objective.classes)))
    number = None if label is None else _class(str(label), names, objective.conditional)
    if guidance is not None and not objective.conditional:
        raise RunError(f"guidance = {guidance:g} goes towards a class, and {_UNTOLD}")
    asked, frames = 0, list[NDArray[np.float64]]()

    def count_one(*_: Any) -> None:
        nonlocal asked
        asked += 1

    hook = run.model.register_forward_hook(count_one)
    keep = (lambda x: frames.append(x[:SHOWN])) if way else None
    try:
        data = objective.generate(run.model, count, seed=seed, label=number, seen=keep)
    finally:
        hook.remove()
    classes = objective.classes_of(run.model, count, number)
    beside, beside_classes = objective.source.held_out
    return Samples(
        run=str(folder),
        step=run.step,
        data=data,
        classes=None if classes is None else classes.cpu().numpy(),
        names=names,
        seed=seed,
        steps=objective.steps,
        solver=described.sampler.kind,
        guidance=objective.guidance,
        evaluations=asked,
        beside=beside[:count],
        beside_classes=beside_classes[:count],
        way=_thinned(frames) if way else None,
        fields=_fields(objective, run.model, beside[:count], number),
    )


def _fields(objective: Generation, model: Any, data: NDArray[Any], number: int | None) -> list[FieldAt]:
    """Over the frame of the data: of the class ``number``, or of no class where the network knows that. Empty
    where data are no points of the plane."""
    if objective.shape != (2,) or (objective.conditional and number is None and not objective.unlabelled):
        return []
    left, right, low, _ = around([(float(x), float(y)) for x, y in data])
    cell = (right - left) / GRID
    steps = (np.arange(GRID) + 0.5) * cell
    points = np.stack(np.meshgrid(left + steps, low + steps), -1).reshape(-1, 2)
    found = objective.directions(model, points, NONE if number is None else number)
    return [FieldAt(name, points, vectors, cell) for name, vectors in found.items()]


def _thinned(frames: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """No more of them than ``FRAMES``, evenly, with the first and the last."""
    places = np.unique(np.linspace(0, len(frames) - 1, FRAMES).round().astype(int))
    return np.stack([frames[place] for place in places])


def _as_asked(
    run: LoadedRun, steps: int | None, solver: str | None, guidance: float | None
) -> tuple[Any, Generation]:
    """The specification of the run's objective with other settings, and the objective."""
    values = run.experiment.model_dump(mode="json")
    asked = values["objective"]
    asked |= {name: v for name, v in {"steps": steps, "guidance": guidance}.items() if v is not None}
    if solver is not None and solver != asked["sampler"]["kind"]:
        asked["sampler"] = {"kind": solver}
    described = validate(values).objective
    assert isinstance(run.objective, Generation)
    made: Generation = build(described, run.objective.source)
    return described, made


def _class(label: str, names: Sequence[str], conditional: bool) -> int:
    """The number of a class, by its name or its number."""
    if not conditional:
        raise RunError(f"class = {label}, and {_UNTOLD}")
    if label in names:
        return names.index(label)
    if label.isdecimal() and int(label) < len(names):
        return int(label)
    some = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    raise RunError(f"class = {label} is none of the run's{did_you_mean(label, names)}; allowed: {some}")
