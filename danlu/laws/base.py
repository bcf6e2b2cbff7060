"""A law: a formula with parameters, its derivatives, where a fit of it may start, and where it comes from."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from danlu.laws.errors import LawError
from danlu.spec.errors import nearest

Array = NDArray[np.float64]
Data = Mapping[str, Array]

# Parameters are written in Greek for people and in ASCII for files, programs and command lines: α_N, alpha_N.
ASCII = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta",
    "θ": "theta", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "ρ": "rho", "σ": "sigma",
    "τ": "tau", "φ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega",
    "₀": "0", "₁": "1", "₂": "2", "₃": "3", "₄": "4", "₅": "5", "₆": "6", "₇": "7", "₈": "8", "₉": "9",
}  # fmt: skip


def ascii_name(name: str) -> str:
    """A parameter's name as files and command lines have it."""
    return "".join(ASCII.get(letter, letter) for letter in name)


STEP = 1e-4  # of a difference, as a share of a coordinate

Predict = Callable[[Array, Data], Array]
Curvature = Callable[[Array, Data, Array], Array]
Starts = Callable[[Data, Array], Array]


@dataclass(frozen=True)
class Parameter:
    """One number of a law.

    ``low``, ``high``: between these, ends included, a fit looks for it.
    ``log``: it is positive and the fit moves its logarithm (for scales, which may span many powers of ten).
    ``floor``: whatever the law predicts lies above it.
    """

    name: str
    meaning: str
    unit: str = ""
    low: float = -np.inf
    high: float = np.inf
    log: bool = False
    floor: bool = False

    def __post_init__(self) -> None:
        if self.log and self.low < 0:
            object.__setattr__(self, "low", 0.0)


@dataclass(frozen=True)
class Published:
    """Values that a paper gives for the parameters, in the order of the law, and where they stand."""

    values: tuple[float, ...]
    source: str


@dataclass(frozen=True)
class Law:
    """A law, put together from functions over a batch of parameter vectors.

    Below, ``theta`` is (…, parameters) float64 in natural units, in the order of ``parameters``; the leading
    dimensions are starts, resamples or whatever else is solved at once. Data are columns of shape (points,).

    ``formula``: as one would write it, in Unicode. ``text``: what it says, in a sentence or two.
    ``paper``: authors, year, arXiv number and equation.
    ``columns``: what it predicts from (see ``danlu.laws.table.COLUMNS``). ``target``: what it predicts.
    ``predict(theta, data)``: (…, points).
    ``gradient(theta, data)``: its derivative to each parameter, (…, parameters, points): one row each.
    ``starts(data, target)``: where a fit begins, (starts, parameters), from columns and what was measured.
    ``curvature(theta, data, weight)``: Σᵢ weightᵢ·∂²predictionᵢ, (…, parameters, parameters) with weight
    (…, points); left out, differences of ``gradient`` stand in for it, at ten times the price.
    ``arrange(theta)``: of parameters that say the same in another order, the order to report.
    ``space``: what a residual is: ``log`` (ln prediction − ln target) or ``linear`` (prediction − target).
    ``distinct``: of how many different values a column must have at least, for the law to be told from it.
    ``leads``: of tied parameters (see ``restrict``), the place of the one that each is equal to; else empty.
    ``published``: parameter sets of papers, by name.
    """

    name: str
    title: str
    formula: str
    text: str
    paper: str
    columns: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    predict: Predict
    gradient: Predict
    starts: Starts
    curvature: Curvature | None = None
    arrange: Callable[[Array], Array] | None = None
    target: str = "loss"
    space: Literal["log", "linear"] = "log"
    distinct: Mapping[str, int] = field(default_factory=dict)
    published: Mapping[str, Published] = field(default_factory=dict)
    leads: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, given in self.published.items():
            assert len(given.values) == len(self.parameters), f"{self.name}: {name} has other parameters"

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names, in order."""
        return tuple(p.name for p in self.parameters)

    @property
    def keys(self) -> tuple[str, ...]:
        """The parameters' names in ASCII, in order: in JSON, and after ``--fix``."""
        return tuple(map(ascii_name, self.names))

    def theta(self, values: Mapping[str, float] | str) -> Array:
        """A parameter vector, from values by name or from the name of a published set. Raises LawError."""
        if isinstance(values, str):
            if values not in self.published:
                known = ", ".join(self.published) or "none"
                raise LawError(f"{self.name} has no published parameters called {values!r}; it has {known}")
            return np.array(self.published[values].values)
        given = {self.place(name): float(value) for name, value in values.items()}
        if missing := [name for place, name in enumerate(self.names) if place not in given]:
            raise LawError(f"{self.name} needs a value for {' and '.join(missing)}")
        return np.array([given[place] for place in range(len(self.names))])

    def place(self, name: str) -> int:
        """Where a parameter stands in the order, by its Greek or its ASCII name. Raises LawError."""
        wanted, keys = ascii_name(name), self.keys
        if wanted not in keys:
            raise LawError(f"{self.name} has no parameter {name}; it has {', '.join(self.names)}")
        return keys.index(wanted)

    @property
    def own(self) -> NDArray[np.bool_]:
        """Which parameters have a value of their own, and are not another's, (parameters,)."""
        places = range(len(self.parameters))
        return np.array([lead == place for lead, place in zip(self.leads or places, places, strict=True)])

    def named(self, theta: Array) -> dict[str, float]:
        """The values of one parameter vector, by name."""
        return {name: float(value) for name, value in zip(self.names, theta, strict=True)}

    # The coordinates in which a fit moves: ln θ for parameters of kind ``log``, θ for the others.

    @property
    def logs(self) -> NDArray[np.bool_]:
        """Which parameters a fit moves by their logarithm, (parameters,)."""
        return np.array([p.log for p in self.parameters])

    def inner(self, theta: Array) -> Array:
        """From natural units to the fit's coordinates."""
        u = np.array(theta, dtype=np.float64)
        with np.errstate(divide="ignore"):
            u[..., self.logs] = np.log(u[..., self.logs])
        return u

    def natural(self, u: Array) -> Array:
        """From the fit's coordinates to natural units."""
        theta = np.array(u, dtype=np.float64)
        with np.errstate(over="ignore"):
            theta[..., self.logs] = np.exp(theta[..., self.logs])
        return theta

    @property
    def bounds(self) -> tuple[Array, Array]:
        """The lowest and highest values in the fit's coordinates, (parameters,) each."""
        low = self.inner(np.array([p.low for p in self.parameters]))
        return low, self.inner(np.array([p.high for p in self.parameters]))

    def slopes(self, of: Callable[[Array], Array], theta: Array) -> Array:
        """The derivatives of a function of the parameters to the fit's coordinates, by central differences.

        ``of``: (…, parameters) to (…, values). ``theta``: (parameters,). Returns (parameters, values), 0
        where a difference is not finite.
        """
        u = self.inner(theta)
        size = STEP * np.maximum(np.abs(u), 1e-2)
        step = np.diag(size)
        with np.errstate(all="ignore"):
            rise = of(self.natural(u + step)) - of(self.natural(u - step))
            return np.nan_to_num(rise / (2 * size[:, None]), posinf=0.0, neginf=0.0)


LAWS: dict[str, Law] = {}


def register(law: Law) -> Law:
    """Add a law to ``LAWS`` under its name."""
    assert law.name not in LAWS, f"two laws are called {law.name}"
    LAWS[law.name] = law
    return law


def law(name: str) -> Law:
    """The law of that name. Raises LawError, with the nearest name or all, the nearest first."""
    if name not in LAWS:
        if near := nearest(name, LAWS):
            raise LawError(f"there is no law {name!r}; did you mean {near}?")
        first = difflib.get_close_matches(name, LAWS, n=3, cutoff=0)
        rest = sorted(LAWS.keys() - first)
        raise LawError(f"there is no law {name!r}; the laws are {', '.join([*first, *rest])}")
    return LAWS[name]


def grid(*axes: Sequence[float] | Iterable[float]) -> Array:
    """Every combination of the axes' values, (combinations, axes)."""
    return np.array(list(itertools.product(*axes)), dtype=np.float64)
