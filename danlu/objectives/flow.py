"""Flow matching: a velocity field that carries noise to data."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn

from danlu import flows, spec
from danlu.data import Finite
from danlu.data.points import Points
from danlu.flows.convert import Field
from danlu.flows.samplers import OneStep, Seen
from danlu.nn import build, builds
from danlu.objectives.base import Example, Tensors
from danlu.objectives.generation import Classes, Generation
from danlu.objectives.numbers import Floats
from danlu.spec import flows as specs


@builds(spec.Flow)
class Flow(Generation):
    """The squared error of the velocity (Lipman et al. 2023, eq. 9), summed over the numbers of each row, of
    data with mean 0 and mean square 1; t is uniform."""

    def __init__(
        self,
        source: Points | Finite,
        *,
        path: specs.Path,
        coupling: specs.Coupling,
        sampler: specs.Sampler,
        **settings: Any,
    ) -> None:
        self.path: flows.Path = build(path)
        self.coupling: flows.Coupling = build(coupling)
        self.solver: OneStep = build(sampler)
        self.group = "batch" if isinstance(coupling, specs.OptimalTransport) else None
        super().__init__(source, normals=2 if self.path.noisy else 1, **settings)

    def made(self, data: Any, classes: Any, uniform: Floats) -> Example:
        noise, *between = self.normals_of(uniform[:, 2:])
        made = {
            "data": data,
            "noise": noise,
            "times": uniform[:, 0].astype("float32"),
            "classes": self.told(classes, uniform[:, 1]),
        }
        return made | {"between": between[0]} if between else made

    def squares(self, model: nn.Module, example: Tensors) -> torch.Tensor:
        noise, data, classes = example["noise"], example["data"], example["classes"]
        if model.training:
            data, classes = self.coupling.pair(noise, data, classes)
        t, between = example["times"], example.get("between")
        x, target = self.path.at(noise, data, t, between), self.path.target(noise, data, t, between)
        error = self.field(model, x, t, classes if self.conditional else None) - target
        return error.square().flatten(1).sum(1) * example["weight"]

    def field(self, model: nn.Module, x: torch.Tensor, t: torch.Tensor, classes: Classes) -> torch.Tensor:
        """The velocity."""
        found: torch.Tensor = model(x, t, classes)
        return found

    def walk(
        self, field: Field, noise: torch.Tensor, uniform: torch.Tensor, steps: int, seen: Seen | None = None
    ) -> flows.Solution:
        """Equal steps of t, between the times at which a velocity is finite."""
        first, last = self.path.ends[0], 1 - self.path.ends[1]
        times = torch.linspace(first, last, steps + 1, dtype=torch.float64)
        start = noise * float(self.path.total(torch.tensor(first, dtype=torch.float64))[1])
        return self.solver.flow(field, start, times, seen)
