"""Rotary angles stretched to longer contexts: each scaling gives the frequencies of the pairs, and the
factor by which cosines and sines are multiplied."""

from __future__ import annotations

import math

import torch

from danlu import spec
from danlu.nn.registry import builds


def frequencies(base: float, size: int, device: torch.device | None = None) -> torch.Tensor:
    """Radians a position for each pair of ``size`` dimensions: base^(−2i/size), float32, shape (size/2,)."""
    index = torch.arange(0, size, 2, dtype=torch.float32, device=device)
    return 1 / base ** (index / size)  # in this order and precision it equals what others trained with


@builds(spec.Interpolation)
class Interpolation:
    """Every frequency divided by ``factor`` (Chen et al. 2023, arXiv:2306.15595, eq. 4)."""

    def __init__(self, *, factor: float = 4.0) -> None:
        self.factor, self.amplitude = factor, 1.0

    def frequencies(self, base: float, size: int, device: torch.device | None = None) -> torch.Tensor:
        return frequencies(base, size, device) / self.factor


@builds(spec.NTK)
class NTK:
    """The base raised to base · factor^(d/(d−2)) ("NTK-aware", bloc97 2023): the fastest pair stays, the
    slowest is divided by ``factor``."""

    def __init__(self, *, factor: float = 4.0) -> None:
        self.factor, self.amplitude = factor, 1.0

    def frequencies(self, base: float, size: int, device: torch.device | None = None) -> torch.Tensor:
        if size > 2:  # a single pair turns by one radian a position in every base
            base = base * self.factor ** (size / (size - 2))
        return frequencies(base, size, device)


@builds(spec.YaRN)
class YaRN:
    """YaRN (Peng et al. 2023, arXiv:2309.00071, section 3.2 and eq. 22).

    A pair that turns more than ``fast`` times over the ``original`` context keeps its frequency, one that
    turns less than ``slow`` times has it divided by ``factor``, with a linear ramp over the pairs between
    (its ends rounded outwards to ``whole`` pairs). Cosines and sines are multiplied by ``attention``, by
    default 0.1 ln factor + 1, so that q·k gets its square.
    """

    def __init__(
        self,
        *,
        factor: float = 4.0,
        original: int = 128,
        fast: float = 32.0,
        slow: float = 1.0,
        attention: float | None = None,
        whole: bool = True,
    ) -> None:
        self.factor, self.original, self.fast, self.slow, self.whole = factor, original, fast, slow, whole
        self.amplitude = 0.1 * math.log(max(factor, 1.0)) + 1 if attention is None else attention

    def ramp(self, base: float, size: int) -> tuple[float, float]:
        """The pairs at which the ramp starts and ends, within the head."""

        def pair(turns: float) -> float:  # the index of the pair that turns so many times
            return size * math.log(self.original / (2 * math.pi * turns)) / (2 * math.log(base))

        low, high = pair(self.fast), pair(self.slow)
        if self.whole:
            low, high = math.floor(low), math.ceil(high)
        low = max(low, 0)
        return low, max(min(high, size - 1), low + 0.001)  # at least a step, where the ramp has no width

    def frequencies(self, base: float, size: int, device: torch.device | None = None) -> torch.Tensor:
        kept, (low, high) = frequencies(base, size, device), self.ramp(base, size)
        index = torch.arange(size // 2, dtype=torch.float32, device=device)
        return torch.lerp(kept, kept / self.factor, ((index - low) / (high - low)).clamp(0, 1))


@builds(spec.Llama3)
class Llama3:
    """The scaling of Llama 3.1 (Meta 2024): with t = original context / wavelength, a frequency is kept
    where t > ``fast``, divided by ``factor`` where t < ``slow``, and blended linearly in t between."""

    def __init__(
        self, *, factor: float = 8.0, original: int = 8192, slow: float = 1.0, fast: float = 4.0
    ) -> None:
        self.factor, self.original, self.slow, self.fast = factor, original, slow, fast
        self.amplitude = 1.0

    def frequencies(self, base: float, size: int, device: torch.device | None = None) -> torch.Tensor:
        kept = frequencies(base, size, device)
        turns = self.original / (2 * math.pi / kept)
        part = ((turns - self.slow) / (self.fast - self.slow)).clamp(0, 1)
        return (1 - part) * kept / self.factor + part * kept
