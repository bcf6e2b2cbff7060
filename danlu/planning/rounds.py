"""Workers that train apart and talk once a round, over slow links: a simulation, no measurement.

A worker makes ``every`` steps; in turn, spread over them, ``fragments`` parts of the network are summed over
all workers. Steps take their time with some scatter, and now and then a worker is slow for a round; a link's
speed scatters too. A sum ends when the slowest has come and all bytes are through; it holds the workers up
unless it has ``delay`` steps to arrive (Douillard et al. 2025, arXiv:2501.18512).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from danlu.planning.traffic import ring


@dataclass(frozen=True)
class Rounds:
    """``workers``, each with a whole network of ``parameters``; ``step``: seconds of one of its steps, of
    which the backward pass, ``backward``, hides a sum that it ends with; ``bits`` of a number that is sent.
    Scatter, as coefficients of variation: ``jitter`` of a link from sum to sum, ``uneven`` of steps; a worker
    is ``slow`` times as slow in a share ``slowed`` of its rounds."""

    workers: int
    parameters: float
    step: float
    every: int = 500
    fragments: int = 1
    delay: int = 0
    bits: float = 32
    backward: float = 0.0
    jitter: float = 0.3
    uneven: float = 0.05
    slowed: float = 0.02
    slow: float = 1.5

    @property
    def sent(self) -> float:
        """Bytes that a worker sends in a round."""
        return 2 * ring(self.parameters * self.bits / 8, self.workers)


@dataclass(frozen=True)
class Simulated:
    """``utilisation``: the share of the time that workers compute, with the 5 % and 95 % quantiles of single
    rounds; ``seconds`` of a round on average."""

    bandwidth: float
    utilisation: float
    low: float
    high: float
    seconds: float


def simulate(rounds: Rounds, bandwidth: float, *, count: int = 400, seed: int = 0) -> Simulated:
    """``count`` rounds of ``rounds`` on links of ``bandwidth`` bytes/s, each worker's own, at ``seed``."""
    draw = np.random.default_rng(seed)
    shape = (count, rounds.workers)
    pace = _scatter(draw, rounds.uneven, shape)
    pace *= np.where(draw.random(shape) < rounds.slowed, rounds.slow, 1.0)
    speed = bandwidth * _scatter(draw, rounds.jitter, (count, rounds.fragments, rounds.workers))
    sums = rounds.sent / rounds.fragments / speed.min(axis=2)  # a ring is as fast as its slowest link
    work = rounds.every * rounds.step * pace  # (count, workers)
    hides = rounds.step * (rounds.delay + rounds.backward)
    taken = work.max(axis=1) + np.maximum(0.0, sums - hides).sum(axis=1)
    busy = work.mean(axis=1)
    low, high = np.quantile(busy / taken, (0.05, 0.95))
    whole = float(busy.sum() / taken.sum())
    return Simulated(bandwidth, whole, float(low), float(high), float(taken.mean()))


def _scatter(draw: np.random.Generator, variation: float, shape: tuple[int, ...]) -> np.ndarray:
    """Log-normal factors of mean 1 and this coefficient of variation."""
    if variation == 0:
        return np.ones(shape)
    sigma = np.sqrt(np.log1p(variation**2))
    return np.asarray(draw.lognormal(-(sigma**2) / 2, sigma, shape))
