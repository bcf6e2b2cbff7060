"""The fit file: what ``danlu laws fit --json`` prints, and what plans, predictions and ladders read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.files.errors import FileError
from danlu.files.json import misfit, read_json
from danlu.laws import calibration
from danlu.laws.base import Array, Law, law
from danlu.laws.beyond import RATIO, with_ratio
from danlu.laws.calibration import Calibration
from danlu.laws.doubt import LeftOut
from danlu.laws.errors import LawError, Warned
from danlu.laws.files import objects
from danlu.laws.files.runs import POINTS
from danlu.laws.scatter import Scatter, Trend
from danlu.laws.solve import ABSOLUTE, HUBER, SQUARES, Loss
from danlu.laws.table import Points

SCHEMA = "danlu.laws.fit/2"
FILE = "law.json"  # the fit file in the folder of a ladder
LOOSE = 1.0  # standard deviation, of ln θ or as a share of θ, from which on a normal law is no picture of it
_NUMBER = (float, None)
SHAPE: dict[str, Any] = {  # of what is read; None: it may be absent
    "schema": (str, None),
    "law": str,
    "parameters": {...: float},
    "points": (int, None),
    "covariance": ([[float]], None),
    "fixed": ([str], None),
    "ranges": ({...: [float]}, None),
    "scatter": (
        {
            "within": _NUMBER,
            "between": _NUMBER,
            "cluster": (str, None),
            "clusters": int,
            "trend": ({"column": str, "slope": float, "at": float, "most": float}, None),
        },
        None,
    ),
    "loss": ({"kind": str, "delta": _NUMBER}, None),
    "draws": ([[float]], None),
    "left_out": ({"clusters": int, "parameters": [[float]]}, None),
    "calibration": (calibration.SHAPE, None),
    "columns": ({...: {"name": str}}, [str], None),
}


@dataclass(frozen=True)
class Saved:
    """A fit as its file has it. Files of before version 2 have no covariance, ranges, scatter and loss.

    ``theta``: (parameters,), natural units. ``covariance``: (parameters, parameters) in the fit's coordinates
    (``Law.inner``: ln θ where the law says so), zero for what was fixed. ``draws``: (resamples, parameters),
    natural units. ``without``: of fits without some clusters each (``danlu.laws.doubt.Draws``).
    ``calibration``: how well smaller budgets predicted larger ones. ``free``: (parameters,). ``ranges``:
    lowest and highest value of each column fitted to, and of d/n. ``columns``: the file's names of columns,
    by ours. ``points``: how many, None where not told.
    """

    law: Law
    theta: Array
    covariance: Array | None
    draws: Array | None
    without: LeftOut | None
    calibration: Calibration | None
    free: NDArray[np.bool_]
    ranges: dict[str, tuple[float, float]]
    scatter: Scatter | None
    loss: Loss
    warnings: tuple[Warned, ...]
    columns: dict[str, str]
    points: int | None

    @property
    def loose(self) -> list[str]:
        """The parameters of which the covariance tells little, as their errors are large."""
        if self.covariance is None:
            return []
        size = np.where(self.law.logs, 1.0, np.abs(self.law.inner(self.theta)))
        far = np.sqrt(np.diag(self.covariance)) > LOOSE * size
        return [name for name, one in zip(self.law.names, far & self.free, strict=True) if one]

    @property
    def told(self) -> list[Warned]:
        """The warnings of the fit, for who uses it: each says that it is of the fit."""
        return [Warned(one.code, f"of the fit: {one}") for one in self.warnings]

    @property
    def no_sample(self) -> Warned:
        """Why there is no ``sample``."""
        if self.loose:
            return Warned("no-intervals", (
                f"no intervals: the fit file keeps no draws, and {', '.join(self.loose)} "
                f"{'is' if len(self.loose) == 1 else 'are'} too weakly determined for its covariance to "
                "stand for them; fit again (danlu laws fit --json)"
            ))  # fmt: skip
        return Warned("no-intervals", "no intervals: the fit has neither draws nor a covariance")

    def sample(self, count: int = 1000, seed: int = 0) -> Array | None:
        """Parameters as the points leave them uncertain, (samples, parameters), natural units: the draws that
        were kept, else normal ones of the covariance within the bounds; None where the file has neither, or
        no draws and parameters that are ``loose``."""
        if self.draws is not None:
            return self.draws
        if self.covariance is None or self.loose:
            return None
        made = np.random.default_rng(seed).multivariate_normal(
            self.law.inner(self.theta), self.covariance, count, check_valid="ignore", method="eigh"
        )
        return np.where(self.free, self.law.natural(np.clip(made, *self.law.bounds)), self.theta)


def load(path: Path | str) -> Saved:
    """A fit file, of this version or of one before, or that of a ladder's folder. Raises LawError or
    FileError, one sentence."""
    path = inside(Path(path))
    return parse(_one(path), path)


def inside(path: Path) -> Path:
    """The fit file in a ladder's folder, where it lies beside the points; any other path as it is."""
    return path / FILE if (path / POINTS).is_file() and (path / FILE).is_file() else path


def is_fit(path: Path) -> bool:
    """Whether a JSON file, or that of a ladder's folder, holds fits, and not points; that of one group is
    called FILE.json#LABEL."""
    path = inside(path)
    if not (path.suffix == ".json" or ".json#" in path.name):
        return False
    try:
        said = read_json(path.with_name(path.name.partition(".json")[0] + ".json"))
    except FileError:
        return False  # who reads points says better what is wrong with it
    return objects.is_fit(said)


def parse(said: Any, path: Path | str) -> Saved:
    """What ``Answer.json`` made; ``path`` names it in errors."""
    if wrong := misfit(said, {"law": str, "parameters": dict}) or misfit(said, SHAPE):
        raise LawError(f"{path} is not what danlu laws fit --json prints: {wrong}")
    if said.get("schema", SCHEMA) != SCHEMA:
        raise LawError(f"{path} is {said['schema']}; this danlu reads {SCHEMA} and the files before it")
    found = law(said["law"])
    theta = found.theta(said["parameters"])
    free, columns = np.ones(len(theta), bool), said.get("columns")
    for name in said.get("fixed") or []:
        free[found.place(name)] = False
    return Saved(
        law=found,
        theta=theta,
        covariance=_matrix(path, said.get("covariance"), len(theta), square=True),
        draws=_matrix(path, said.get("draws"), len(theta)),
        without=_left_out(path, said.get("left_out"), len(theta)),
        calibration=calibration.from_json(measured) if (measured := said.get("calibration")) else None,
        free=free,
        ranges={name: (ends[0], ends[-1]) for name, ends in (said.get("ranges") or {}).items() if ends},
        scatter=_scatter(said.get("scatter")),
        loss=_loss(path, said.get("loss")),
        warnings=tuple(_warned(one) for one in said.get("warnings") or []),
        columns={ours: one["name"] for ours, one in columns.items()} if isinstance(columns, dict) else {},
        points=said.get("points"),
    )


def ranges(points: Points, law: Law) -> dict[str, list[float]]:
    """Lowest and highest value of the law's columns, its target, n, d and c where they are known, and d/n
    where the law is of both."""
    whole = with_ratio(points.with_compute())
    names = dict.fromkeys((*law.columns, law.target, "n", "d", "c"))
    if {"n", "d"} <= {*law.columns}:
        names[RATIO] = None
    return {name: [float(whole[name].min()), float(whole[name].max())] for name in names if name in whole}


def loss_json(loss: Loss) -> dict[str, Any]:
    """What was minimised: ``huber`` with its δ, ``mse`` or ``lad``."""
    kind = "lad" if loss.delta == 0 else "mse" if loss.delta == np.inf else "huber"
    return {"kind": kind, "delta": loss.delta if kind == "huber" else None}


def _one(path: Path) -> Any:
    """What the file holds; of one with a fit for each group, that of the label after ``#``."""
    name, _, label = path.name.rpartition("#")
    whole = path.with_name(name) if name and not path.exists() else path
    said = read_json(whole)
    if not isinstance(said, Mapping) or not isinstance(groups := said.get("groups"), Mapping):
        if whole != path:
            raise LawError(f"{whole} holds one fit and no groups; leave out #{label}")
        return said
    if label not in groups:
        raise LawError(
            f"{whole} holds a fit for each of {', '.join(groups)}; say which: {whole}#{next(iter(groups))}"
        )
    return groups[label]


def _loss(path: Path | str, said: Mapping[str, Any] | None) -> Loss:
    if said is None:
        return HUBER
    kinds = {"huber": Loss(said["delta"] or HUBER.delta), "mse": SQUARES, "lad": ABSOLUTE}
    if said["kind"] not in kinds:
        raise LawError(f"{path}: loss.kind is {said['kind']!r}; allowed: {', '.join(kinds)}")
    return kinds[said["kind"]]


def _scatter(said: Mapping[str, Any] | None) -> Scatter | None:
    if said is None:
        return None
    within, between = (math.nan if said[name] is None else said[name] for name in ("within", "between"))
    trend = said.get("trend")
    known = None if trend is None else Trend(**trend)
    return Scatter(within, between, said["clusters"], said["cluster"], known)


def _left_out(path: Path | str, said: Mapping[str, Any] | None, width: int) -> LeftOut | None:
    theta = None if said is None else _matrix(path, said["parameters"], width)
    return None if said is None or theta is None else LeftOut(theta, said["clusters"])


def _matrix(path: Path | str, rows: Any, width: int, square: bool = False) -> Array | None:
    if rows and (any(len(row) != width for row in rows) or (square and len(rows) != width)):
        what = "a covariance" if square else "draws"
        raise LawError(f"{path} holds {what} of another law's parameters")
    return np.array(rows, dtype=np.float64) if rows and len(rows) > 1 - square else None


def _warned(said: Any) -> Warned:
    if isinstance(said, Mapping):
        return Warned(str(said.get("code", "")), said.get("text", ""))
    return Warned("", said)
