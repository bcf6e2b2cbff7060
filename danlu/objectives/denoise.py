"""Denoising: what the data were, of data with isotropic noise of any level; then an ODE over levels makes
samples."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn

from danlu import flows, spec
from danlu.data import Finite
from danlu.data.points import Points
from danlu.flows.convert import Field
from danlu.flows.kernels import inside
from danlu.flows.samplers import Seen
from danlu.flows.shapes import length, over
from danlu.nn import build, builds
from danlu.objectives.base import Example, Tensors
from danlu.objectives.generation import Classes, Generation, LogDensity
from danlu.objectives.numbers import Floats
from danlu.spec import flows as specs

SCALED = 0.5  # σ_d: to what root of the mean square data are scaled, as EDM's constants suppose
REACH = 4.0  # times its usual length, from where on x with heavy-tailed noise is drawn in
FARTHEST = 10.0  # levels from the middle, where heavy-tailed noise starts: beyond, paths land too late


@builds(spec.Denoise)
class Denoise(Generation):
    """The squared error of the denoised data, weighted by level (Karras et al. 2022, eq. 2), of data with
    mean 0 and root mean square .5, by a network with EDM's preconditioning. With EDM's weight a network that
    answers 0 costs 1 a number."""

    def __init__(
        self,
        source: Points | Finite,
        *,
        kernel: specs.Kernel,
        levels: specs.Levels,
        weight: specs.Weight,
        grid: specs.Grid,
        sampler: specs.Sampler,
        **settings: Any,
    ) -> None:
        self.kernel: flows.Kernel = build(kernel)
        self.levels: flows.Law = build(levels)
        self.weight: flows.Weight = build(weight)
        self.grid: flows.Grid = build(grid)
        self.solver: flows.Sampler = build(sampler)
        heavy = getattr(self.kernel, "heavy", False)  # an own kernel may not say it
        self.preconditioning = flows.Preconditioning(SCALED, REACH if heavy else None)
        super().__init__(source, normals=1, scaled=SCALED, more=1, **settings)

    def made(self, data: Any, classes: Any, uniform: Floats) -> Example:
        level = self.levels.level(inside(torch.from_numpy(uniform[:, 0])))
        noise = self.noise_of(uniform[:, 3:])
        drawn = self.kernel.noise(torch.from_numpy(noise), torch.from_numpy(uniform[:, 2]))
        noisy = torch.from_numpy(data) + over(level, drawn) * drawn
        return {
            "data": data,
            "noisy": noisy.float().numpy(),
            "levels": level.float().numpy(),
            "classes": self.told(classes, uniform[:, 1]),
        }

    def squares(self, model: nn.Module, example: Tensors) -> torch.Tensor:
        level, classes = example["levels"], example["classes"] if self.conditional else None
        error = self.field(model, example["noisy"], level, classes) - example["data"]
        told = self.preconditioning.level(example["noisy"], level)
        return error.square().flatten(1).sum(1) * self.weight(told) * example["weight"]

    def field(self, model: nn.Module, x: torch.Tensor, t: torch.Tensor, classes: Classes) -> torch.Tensor:
        """The denoised data at levels ``t``."""
        return self.preconditioning.denoised(lambda x, noise: model(x, noise, classes), x, t)

    def walk(
        self, field: Field, noise: torch.Tensor, uniform: torch.Tensor, steps: int, seen: Seen | None = None
    ) -> flows.Solution:
        """From the kernel's noise at the highest level of the grid, down to 0."""
        levels = self.grid.levels(steps)
        begun = self.kernel.noise(noise, uniform).to(noise.dtype)
        if self.preconditioning.reach is not None:
            begun = begun * over((FARTHEST / length(begun)).clamp(max=1.0), begun)
        start = float(levels[0]) * begun
        return self.solver.sample(field, start, levels, self.added(self.solver, noise, steps), seen)

    def back(self, field: Field, steps: int) -> tuple[Field, torch.Tensor, LogDensity]:
        """From the least level of the grid, as if it were none, up to the kernel's noise at the highest."""
        levels = self.grid.levels(steps + 1)[:-1].flip(0)

        def velocity(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            return (x - field(x, sigma)) / over(sigma, x)

        def log_prior(x: torch.Tensor) -> torch.Tensor:
            return self.kernel.log_density(x, torch.zeros_like(x), float(levels[-1]))

        return velocity, levels, log_prior

    @property
    def shown_at(self) -> dict[str, float]:
        """By the noise as data are: 4 times their spread to a tenth of it."""
        levels = [share * SCALED for share in (4, 1, 0.3, 0.1)]
        return {f"field at noise {level * self.spread:.2g}": level for level in levels}
