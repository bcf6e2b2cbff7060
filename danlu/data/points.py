"""Points in the plane: endless sets whose density is known.

A point is a pure function of four uniform numbers, and these of (seed, step, row), so that any slice of an
update's points equals that part of the whole, bit for bit. What is held out comes from keys apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.data.counter import Counter, normal
from danlu.spec import points as specs

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]

_TRAIN, _HELD_OUT = 0x706F696E, 0x706F6F75  # "poin", "poou": random streams apart from others of one seed
_NUMBERS = 4  # uniform numbers that a point is made of: for its mode, its place there, and noise in x and y
_NODES_PER_SD = 3  # of the quadrature along a curve, at the least


class Points:
    """The points of ``spec``.

    ``classes``: of the labels. ``entropy``: in nats, to 1e-9; None where it is not known in closed form.
    ``record``: what the data was made from, in JSON.
    """

    def __init__(self, spec: specs.Points) -> None:
        self.spec = spec
        self.shape, self.classes = spec.shape, spec.classes
        self._set = _SETS[type(spec)](spec)
        self.entropy = self._set.entropy()
        self.record: dict[str, Any] = {
            "corpus": spec.model_dump(mode="json"),
            "splits": {"train": {"points": None}, "held_out": {"points": spec.held_out}},
        }

    def rows(
        self, seed: int, step: int, first: int, start: int, stop: int
    ) -> tuple[NDArray[np.float32], Ids]:
        """Rows ``start`` to ``stop`` of update ``step``: points, float32 [rows, 2], and their classes, int64
        [rows]. ``first`` changes nothing: the stream has no end."""
        return self._made(Counter(seed, step, _TRAIN), start, stop)

    @cached_property
    def held_out(self) -> tuple[NDArray[np.float32], Ids]:
        """The held-out points and their classes, as ``rows``; the same for every seed."""
        return self.fresh(0, self.spec.held_out)

    def fresh(self, number: int, count: int) -> tuple[NDArray[np.float32], Ids]:
        """``count`` points of another set, by its ``number`` from 1, for what fresh data against fresh data
        tells; 0 begins like the held-out ones."""
        return self._made(Counter(0, number, _HELD_OUT), 0, count)

    def log_density(self, points: NDArray[Any]) -> Floats:
        """ln p of points [n, 2] in nats: [n]; −∞ where there are none. Exact for Gaussians and the
        checkerboard; rings and curves to about 1e-10 (a Bessel function, a quadrature along the curve)."""
        points = np.asarray(points, np.float64)
        if points.ndim != 2 or points.shape[1] != 2:
            raise ValueError(f"points have shape {points.shape}; allowed: [n, 2]")
        return self._set.log_density(points)

    def _made(self, counter: Counter, start: int, stop: int) -> tuple[NDArray[np.float32], Ids]:
        uniform = counter.uniform(start, stop, _NUMBERS)
        points, classes = self._set.draw(uniform)
        return points.astype(np.float32), classes


def _log_sum(values: Floats, shares: Floats) -> Floats:
    """ln of the sum of share · e^value over the last dimension."""
    most = values.max(-1, keepdims=True)
    return np.asarray(np.log(np.exp(values - most) @ shares) + most[..., 0])


def _on_circle(angles: Floats) -> Floats:
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


class _Gaussians:
    """Equal normal distributions on a circle."""

    def __init__(self, spec: specs.EightGaussians) -> None:
        self.spec = spec
        self.centres = spec.radius * _on_circle(2 * np.pi * np.arange(spec.modes) / spec.modes)

    def draw(self, uniform: Floats) -> tuple[Floats, Ids]:
        modes = (uniform[:, 0] * self.spec.modes).astype(np.int64)
        return self.centres[modes] + self.spec.sd * normal(uniform[:, 2:]), modes

    def log_density(self, points: Floats) -> Floats:
        modes = self.spec.modes
        return _normal_mixture(points, self.centres, self.spec.sd, np.full(modes, 1 / modes))

    def entropy(self) -> float | None:
        """ln modes + ln 2πe + 2 ln sd, up to what the modes overlap: known where neighbours are ten standard
        deviations apart (the error is then below 1e-5, and falls as e^{−(distance/sd)²/8})."""
        spec = self.spec
        apart = 2 * spec.radius * math.sin(math.pi / spec.modes) / spec.sd if spec.modes > 1 else math.inf
        if apart < 10:
            return None
        return math.log(spec.modes) + math.log(2 * math.pi * math.e) + 2 * math.log(spec.sd)


def _normal_mixture(points: Floats, centres: Floats, sd: float, shares: Floats) -> Floats:
    """ln p of a mixture of normal distributions around ``centres`` [k, 2]."""
    parts = [
        _log_sum(-((some[:, None] - centres) ** 2).sum(-1) / (2 * sd**2), shares)
        for some in np.array_split(points, 1 + len(points) * len(centres) // 2**20)  # memory
    ]
    return np.concatenate(parts) - math.log(2 * math.pi * sd**2)


class _Curves:
    """Points on curves, with normal noise. A curve maps places s in [0, 1], float64 [n], to [n, 2]; s is
    distributed as u^(1/``power``)."""

    def __init__(self, curves: list[Callable[[Floats], Floats]], sd: float, power: int = 1) -> None:
        self.curves, self.sd, self.power = curves, sd, power

    def draw(self, uniform: Floats) -> tuple[Floats, Ids]:
        chosen = (uniform[:, 0] * len(self.curves)).astype(np.int64)
        each = np.stack([curve(uniform[:, 1] ** (1 / self.power)) for curve in self.curves])
        return each[chosen, np.arange(len(chosen))] + self.sd * normal(uniform[:, 2:]), chosen

    def log_density(self, points: Floats) -> Floats:
        line = self.curves[0](np.linspace(0, 1, 1001))
        length = np.hypot(*np.diff(line, axis=0).T).sum()
        nodes, weights = np.polynomial.legendre.leggauss(100 + int(_NODES_PER_SD * length / self.sd))
        places = (nodes + 1) / 2
        shares = weights / 2 * self.power * places ** (self.power - 1) / len(self.curves)
        centres = np.concatenate([curve(places) for curve in self.curves])
        return _normal_mixture(points, centres, self.sd, np.tile(shares, len(self.curves)))

    def entropy(self) -> float | None:
        return None


def _moons(spec: specs.Moons) -> _Curves:
    def upper(s: Floats) -> Floats:
        return spec.radius * (_on_circle(np.pi * s) - (0.5, 0.25))

    def lower(s: Floats) -> Floats:
        return -upper(s)  # make_moons' (1 − cos, ½ − sin), around the centre (½, ¼)

    return _Curves([upper, lower], spec.sd)


def _spiral(spec: specs.Spiral) -> _Curves:
    def arm(number: int) -> Callable[[Floats], Floats]:
        def curve(s: Floats) -> Floats:
            return spec.radius * s[:, None] * _on_circle(2 * np.pi * (spec.turns * s + number / spec.arms))

        return curve

    return _Curves([arm(number) for number in range(spec.arms)], spec.sd, power=2)


class _Checkerboard:
    """Uniform on every other square."""

    def __init__(self, spec: specs.Checkerboard) -> None:
        self.spec = spec
        self.half = spec.squares * spec.side / 2

    def draw(self, uniform: Floats) -> tuple[Floats, Ids]:
        squares, classes = self.spec.squares, self.spec.classes
        chosen = (uniform[:, 0] * classes).astype(np.int64)
        row, place = np.divmod(chosen, squares // 2)
        column = 2 * place + row % 2
        corners = np.stack([column, row], axis=-1) * self.spec.side - self.half
        return corners + self.spec.side * uniform[:, 1:3], chosen

    def log_density(self, points: Floats) -> Floats:
        cell = np.floor((points + self.half) / self.spec.side).astype(np.int64)
        inside = ((cell >= 0) & (cell < self.spec.squares)).all(-1) & (cell.sum(-1) % 2 == 0)
        return np.where(inside, -self.entropy(), -np.inf)

    def entropy(self) -> float:
        """The logarithm of the area."""
        return math.log(self.spec.classes * self.spec.side**2)


class _Rings:
    """Circles around the origin."""

    def __init__(self, spec: specs.Rings) -> None:
        self.spec, self.radii = spec, np.array(spec.radii)

    def draw(self, uniform: Floats) -> tuple[Floats, Ids]:
        chosen = (uniform[:, 0] * len(self.radii)).astype(np.int64)
        places = self.radii[chosen, None] * _on_circle(2 * np.pi * uniform[:, 1])
        return places + self.spec.sd * normal(uniform[:, 2:]), chosen

    def log_density(self, points: Floats) -> Floats:
        return self._at(np.hypot(points[:, 0], points[:, 1]))

    def _at(self, distance: Floats) -> Floats:
        """ln p at a distance from the origin; a ring has e^{−(r−R)²/2s²}·e^{−rR/s²}I₀(rR/s²)/(2πs²)."""
        from scipy.special import ive

        variance = self.spec.sd**2
        r, radii = distance[:, None], self.radii
        terms = np.log(ive(0, r * radii / variance)) - (r - radii) ** 2 / (2 * variance)
        shares = np.full(len(radii), 1 / len(radii))
        return _log_sum(terms, shares) - math.log(2 * math.pi * variance)

    def entropy(self) -> float:
        """−∫ p ln p · 2πr dr, by the trapezoidal rule: nothing is beyond 12 standard deviations."""
        r = np.linspace(0, self.radii.max() + 12 * self.spec.sd, 20_001)
        log_p = self._at(r)
        return float(np.trapezoid(-np.exp(log_p) * log_p * 2 * np.pi * r, r))


_SETS: dict[type, Callable[[Any], Any]] = {
    specs.EightGaussians: _Gaussians,
    specs.Moons: _moons,
    specs.Checkerboard: _Checkerboard,
    specs.Spiral: _spiral,
    specs.Rings: _Rings,
}
