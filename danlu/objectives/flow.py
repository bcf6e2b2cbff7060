"""Flow matching: a velocity field that carries noise to data."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn as nn
from numpy.typing import NDArray

from danlu import flows, spec
from danlu.data import Counter, Finite
from danlu.data.points import Points
from danlu.files.yaml import brief
from danlu.flows.convert import END, Field
from danlu.flows.kernels import inside
from danlu.flows.samplers import OneStep, Seen
from danlu.nn import build, builds
from danlu.objectives.base import Example, Objective, Tensors, beside
from danlu.objectives.generation import Classes, Generation, LogDensity
from danlu.objectives.numbers import Floats
from danlu.spec import flows as specs

_PATHS = 0x70617468  # "path": noise of the paths whose straightness is measured


@builds(spec.Flow)
class Flow(Generation):
    """The squared error of the velocity (Lipman et al. 2023, eq. 9), summed over the numbers of each row, of
    data with mean 0 and mean square 1; t is uniform.

    With the coupling ``reflow`` data are, in training, what a ``teacher`` makes of the noise, and
    ``teach`` is called before.
    """

    def __init__(
        self,
        source: Points | Finite,
        *,
        path: specs.Path,
        coupling: specs.Coupling,
        prior: specs.Prior,
        sampler: specs.Sampler,
        **settings: Any,
    ) -> None:
        self.path: flows.Path = build(path)
        self.prior: flows.Prior = build(prior)
        self.solver: flows.Sampler = build(sampler)
        if not isinstance(self.solver, OneStep) and not isinstance(self.path, flows.Plain):  # own ones
            raise spec.SpecError(
                f"sampler.kind = {sampler.kind} goes over noise levels, and path.kind = {path.kind} says of "
                "none when it is there; derive the path from danlu.flows.Plain, or the sampler from OneStep"
            )
        self.reflow = coupling if isinstance(coupling, specs.Reflow) else None
        self.coupling: flows.Coupling = flows.Independent() if self.reflow else build(coupling)
        self.teacher: tuple[Flow, nn.Module] | None = None
        self._taught = self._carried
        whole = isinstance(coupling, specs.OptimalTransport | specs.Entropic)
        self.group = "batch" if whole else None
        self.draws = bool(getattr(self.coupling, "draws", False))  # an own coupling may not say it
        super().__init__(source, normals=2 if self.path.noisy else 1, more=int(self.draws), **settings)

    def teach(self, teacher: Objective, model: nn.Module) -> None:
        """Take pairs from the flow of ``model``, trained by ``teacher``. Raises ``ValueError`` where it
        carries other noise, to other data, or with other conditions."""
        self.follow(teacher, model)
        self._taught = torch.compiler.disable(self._carried)  # it imports the compiler: seconds

    def follow(self, teacher: Objective, model: nn.Module) -> None:
        """``teach`` for what is never compiled, such as a count of FLOPs."""
        if not isinstance(teacher, Flow):
            raise ValueError("its objective is no flow")
        for what, one, other in (
            ("data", teacher.source.spec, self.source.spec),
            ("objective.prior", teacher.prior, self.prior),
            ("objective.conditional", teacher.conditional, self.conditional),
        ):
            if one != other:
                raise ValueError(f"{what} is {_word(one)} there and {_word(other)} here")
        self.teacher = teacher, model

    def beside(self, model: nn.Module) -> float:
        if self.teacher is None or self.reflow is None:
            return 0
        teacher, network = self.teacher
        asked = teacher.evaluations(self.reflow.steps) * (2 if teacher.guides else 1)
        return asked * teacher.flops(network)

    def evaluations(self, steps: int) -> int:
        """How often the sampler asks for a velocity in ``steps`` steps."""
        start = torch.zeros(1, *self.shape)
        return self.walk(lambda x, t: torch.zeros_like(x), start, start[:, 0], steps).evaluations

    def made(self, data: Any, classes: Any, uniform: Floats) -> Example:
        drawn = uniform[:, 2 + self.draws :]
        noise, *between = np.split(drawn, drawn.shape[1] // self.numbers, axis=1)
        made = {
            "data": data,
            "noise": self.noise_of(noise),
            "times": uniform[:, 0].astype("float32"),
            "classes": self.told(classes, uniform[:, 1]),
        }
        if self.draws:
            made["pairs"] = uniform[:, 2].astype("float32")
        return made | {"between": super().noise_of(between[0])} if between else made

    def noise_of(self, uniform: Floats) -> NDArray[np.float32]:
        drawn = self.prior.sample(inside(torch.from_numpy(np.ascontiguousarray(uniform))))
        return drawn.float().numpy().reshape(-1, *self.shape)

    def squares(self, model: nn.Module, example: Tensors) -> torch.Tensor:
        noise, data, classes = example["noise"], example["data"], example["classes"]
        if model.training:
            if self.reflow is not None:
                data = self._taught(noise, classes)
            drawn = {"uniform": example["pairs"]} if self.draws else {}
            data, classes = self.coupling.pair(noise, data, classes, **drawn)
        t, between = example["times"], example.get("between")
        x, target = self.path.at(noise, data, t, between), self.path.target(noise, data, t, between)
        error = self.field(model, x, t, classes if self.conditional else None) - target
        return error.square().flatten(1).sum(1) * example["weight"]

    @torch.no_grad()
    def _carried(self, noise: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        assert self.teacher is not None and self.reflow is not None, "teach() comes before training"
        teacher, model = self.teacher
        field = teacher.guided(model, classes if self.conditional else None)
        return teacher.walk(field, noise, noise[:, 0], self.reflow.steps).x

    def field(self, model: nn.Module, x: torch.Tensor, t: torch.Tensor, classes: Classes) -> torch.Tensor:
        """The velocity."""
        found: torch.Tensor = model(x, t, classes)
        return found

    def walk(
        self, field: Field, noise: torch.Tensor, uniform: torch.Tensor, steps: int, seen: Seen | None = None
    ) -> flows.Solution:
        """Equal steps of t, between the times at which a velocity is finite; or over the levels of these."""
        first, last = self.path.ends[0], 1 - self.path.ends[1]
        times = torch.linspace(first, last, steps + 1, dtype=torch.float64)
        if not isinstance(self.solver, OneStep):
            return self._over_levels(field, noise, times[:-1], seen)
        start = noise * float(self.path.total(times[0])[1])
        return self.solver.flow(field, start, times, seen)

    def _over_levels(
        self, field: Field, noise: torch.Tensor, times: torch.Tensor, seen: Seen | None
    ) -> flows.Solution:
        """Of x/α, over the levels σ/α of ``times`` and at last 0, where data are; ``seen`` is given x. Where
        α is 0 no level is finite, and the way begins a bit later: x there is noise all the same."""
        assert isinstance(self.path, flows.Plain)
        alpha, sigma, _ = self.path.scales(times.clamp(min=END))
        levels = torch.cat([sigma / alpha, sigma.new_zeros(1)])
        scales = iter([*alpha.tolist(), 1.0])
        each = None if seen is None else lambda x: seen(next(scales) * x)
        solver = self.solver
        if isinstance(solver, flows.Churn):  # it raises levels by √2, and the path has none above its first
            solver = replace(solver, high=min(solver.high, float(levels[0]) / math.sqrt(2)))
        denoise, added = flows.denoiser_of(self.path, field), self.added(solver, noise, len(times))
        return solver.sample(denoise, noise * float(levels[0]), levels, added, each)

    def back(self, field: Field, steps: int) -> tuple[Field, torch.Tensor, LogDensity]:
        """Against the time, to the prior as wide as the path's noise is there."""
        first, last = self.path.ends[0], 1 - self.path.ends[1]
        wide = float(self.path.total(torch.tensor(first, dtype=torch.float64))[1])

        def log_prior(x: torch.Tensor) -> torch.Tensor:
            return self.prior.log_density(x / wide) - self.numbers * math.log(wide)

        return field, torch.linspace(last, first, steps + 1, dtype=torch.float64), log_prior

    @property
    def shown_at(self) -> dict[str, float]:
        first, last = self.path.ends[0], 1 - self.path.ends[1]
        times = [first + share * (last - first) for share in (0, 0.35, 0.7, 0.95)]
        return {f"field at t = {time:.2f}": time for time in times}

    def judge(self, model: nn.Module) -> dict[str, float]:
        return super().judge(model) | {"straightness": self.straightness(model)}

    def straightness(self, model: nn.Module, count: int = 256, steps: int = 16) -> float:
        """Of the paths of ``count`` samples, where a number of the data has mean square 1."""
        uniform = Counter(0, 0, _PATHS).uniform(0, count, self.numbers)
        field = self.guided(model, self.classes_of(model, count))
        return float(flows.straightness(field, beside(model, self.noise_of(uniform)), steps).mean())


def _word(value: Any) -> str:
    """A specification, a part or a truth value as one writes it."""
    value = value.model_dump(mode="json") if hasattr(value, "model_dump") else value
    return brief(value) if isinstance(value, bool | dict) else str(value)
