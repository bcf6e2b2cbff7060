"""Solvers at fixed steps, of dx/dσ = (x − D(x, σ))/σ from large σ to 0, or of dx/dt = v(x, t).

Fixed steps make a sample independent of its neighbours in the batch. x and the sums over steps are float64;
D and v get the type of the x that is given. ``steps`` yields x after each step; ``sample`` and ``flow`` give
the last one and how often the network was asked for the whole batch, and ``seen``, for pictures, each.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from danlu.flows.convert import Field
from danlu.flows.shapes import wide

Slope = Callable[[Tensor, float], Tensor]  # of wide x at one time or level
Seen = Callable[[Tensor], None]  # is given x, wide: the start, then after each step


class Solution(NamedTuple):
    """``x`` in the type of the start; ``evaluations`` of the network, each of the whole batch."""

    x: Tensor
    evaluations: int


class _Asked:
    """A denoiser or velocity for wide x and one level, which counts how often it is asked."""

    def __init__(self, field: Field, start: Tensor) -> None:
        self._field, self._start = field, start
        self.evaluations = 0

    def __call__(self, x: Tensor, t: float) -> Tensor:
        self.evaluations += 1
        start = self._start
        return wide(self._field(x.to(start.dtype), start.new_full(start.shape[:1], t)))


class Sampler(ABC):
    """A solver for denoisers. Levels fall strictly, and the last may be 0: there x is D."""

    @abstractmethod
    def steps(
        self, denoise: Slope, x: Tensor, levels: Sequence[float], noise: Tensor | None = None
    ) -> Iterator[Tensor]:
        """x after each step."""

    def sample(
        self,
        denoise: Field,
        x: Tensor,
        levels: Tensor,
        noise: Tensor | None = None,
        seen: Seen | None = None,
    ) -> Solution:
        """From ``x`` (batch, …) at ``levels[0]`` to ``levels[-1]``; ``noise`` (steps, batch, …), normal, is
        what a stochastic sampler adds. Raises ValueError where levels do not fall."""
        return _last(self.steps, denoise, x, _falling(levels), noise, seen=seen)


class OneStep(Sampler):
    """A solver for any field, whose steps depend on nothing before them."""

    @abstractmethod
    def step(self, slope: Slope, x: Tensor, t: float, to: float) -> Tensor:
        """One step of dx/dt = slope(x, t)."""

    def steps(
        self, denoise: Slope, x: Tensor, levels: Sequence[float], noise: Tensor | None = None
    ) -> Iterator[Tensor]:
        slope = _slope(denoise)
        for level, to in pairwise(levels):
            x = self.step(slope, x, level, to) if to > 0 else denoise(x, level)
            yield x

    def along(self, slope: Slope, x: Tensor, times: Sequence[float]) -> Iterator[Tensor]:
        """x after each step of dx/dt = slope(x, t)."""
        for t, to in pairwise(times):
            x = self.step(slope, x, t, to)
            yield x

    def flow(self, velocity: Field, x: Tensor, times: Tensor, seen: Seen | None = None) -> Solution:
        """From ``x`` (batch, …) at ``times[0]`` to ``times[-1]``, in whichever direction."""
        return _last(self.along, velocity, x, times.tolist(), seen=seen)


@dataclass(frozen=True)
class Euler(OneStep):
    """Order 1. Over levels it is DDIM and DPM-Solver-1, exact for one data point."""

    def step(self, slope: Slope, x: Tensor, t: float, to: float) -> Tensor:
        return x + (to - t) * slope(x, t)


@dataclass(frozen=True)
class Heun(OneStep):
    """Order 2, with two evaluations a step; the step to level 0 is Euler's (Karras et al. 2022, algorithm
    1)."""

    def step(self, slope: Slope, x: Tensor, t: float, to: float) -> Tensor:
        first = slope(x, t)
        return x + (to - t) / 2 * (first + slope(x + (to - t) * first, to))


@dataclass(frozen=True)
class RungeKutta(OneStep):
    """The classical method of order 4, with four evaluations a step: for references and likelihoods."""

    def step(self, slope: Slope, x: Tensor, t: float, to: float) -> Tensor:
        h, middle = to - t, (t + to) / 2
        a = slope(x, t)
        b = slope(x + h / 2 * a, middle)
        c = slope(x + h / 2 * b, middle)
        d = slope(x + h * c, to)
        return x + h / 6 * (a + 2 * b + 2 * c + d)


@dataclass(frozen=True)
class DPM2(Sampler):
    """DPM-Solver-2 (Lu et al. 2022, algorithm 1): the midpoint in ln σ, two evaluations a step."""

    def steps(
        self, denoise: Slope, x: Tensor, levels: Sequence[float], noise: Tensor | None = None
    ) -> Iterator[Tensor]:
        slope = _slope(denoise)
        for level, to in pairwise(levels):
            if to > 0:
                middle = math.sqrt(level * to)
                half = x + (middle - level) * slope(x, level)
                x = x + (to - level) * slope(half, middle)
            else:
                x = denoise(x, level)
            yield x


@dataclass(frozen=True)
class DPM2M(Sampler):
    """DPM-Solver++(2M) (Lu et al. 2023, algorithm 2): two levels' D, one evaluation a step; the first step
    and the last are of order 1."""

    def steps(
        self, denoise: Slope, x: Tensor, levels: Sequence[float], noise: Tensor | None = None
    ) -> Iterator[Tensor]:
        before: tuple[Tensor, float] | None = None  # D and the width of the step
        for level, to in pairwise(levels):
            denoised = denoise(x, level)
            if to > 0:
                h = math.log(level / to)
                ahead = denoised
                if before is not None:
                    ahead = denoised + (denoised - before[0]) * (h / (2 * before[1]))
                x = to / level * x - math.expm1(-h) * ahead
                before = denoised, h
            else:
                x = denoised
            yield x


@dataclass(frozen=True)
class Churn(Sampler):
    """EDM's stochastic sampler (Karras et al. 2022, algorithm 2): before a step of Heun the level is raised
    by γ = min(churn/N, √2 − 1), for levels from ``low`` to ``high``, with normal noise times ``inflate``. The
    marginals stay those of Gaussian noise; other kernels have none to add."""

    churn: float = 40.0
    low: float = 0.05
    high: float = 50.0
    inflate: float = 1.003

    def steps(
        self, denoise: Slope, x: Tensor, levels: Sequence[float], noise: Tensor | None = None
    ) -> Iterator[Tensor]:
        if noise is None or noise.shape[0] < len(levels) - 1:
            had = 0 if noise is None else noise.shape[0]
            raise ValueError(
                f"the sampler churn needs noise for {len(levels) - 1} steps and has it for {had}"
            )
        slope, heun = _slope(denoise), Heun()
        gamma = min(self.churn / (len(levels) - 1), math.sqrt(2) - 1)
        for (level, to), fresh in zip(pairwise(levels), noise, strict=False):
            if self.low <= level <= self.high:
                raised = level * (1 + gamma)
                x = x + math.sqrt(raised**2 - level**2) * self.inflate * fresh
                level = raised
            x = heun.step(slope, x, level, to) if to > 0 else denoise(x, level)
            yield x


def _slope(denoise: Slope) -> Slope:
    return lambda x, level: (x - denoise(x, level)) / level


def _falling(levels: Tensor) -> list[float]:
    found: list[float] = levels.tolist()
    if len(found) < 2 or found[-1] < 0 or any(a <= b for a, b in pairwise(found)):
        raise ValueError(
            f"levels = {', '.join(f'{level:.3g}' for level in found)}; "
            "allowed: two or more, each below the one before, the last 0 or above"
        )
    return found


@torch.no_grad()
def _last(
    steps: Callable[..., Iterator[Tensor]],
    field: Field,
    start: Tensor,
    times: list[float],
    *more: Tensor | None,
    seen: Seen | None = None,
) -> Solution:
    """The last x of ``steps``; ``seen`` is given the start and each."""
    asked = _Asked(field, start)
    first = x = wide(start)
    for x in chain([first], steps(asked, first, times, *more)):
        if seen is not None:
            seen(x)
    return Solution(x.to(start.dtype), asked.evaluations)
