"""What objectives that learn to generate have in common: samples, and metrics of them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np
import torch
import torch.nn as nn
from numpy.typing import NDArray

from danlu import flows
from danlu.data import Counter, Finite
from danlu.data.counter import normal
from danlu.data.points import Points
from danlu.flows.convert import Field
from danlu.flows.samplers import Seen
from danlu.nn import builds
from danlu.objectives.base import Losses, Sample, Tensors, beside
from danlu.objectives.likeness import Likeness
from danlu.objectives.numbers import Floats, Numbers, check_classes
from danlu.objectives.pictures import inked, scattered, shaded
from danlu.spec import flows as specs
from danlu.spec.metrics import Judge

# The parts of a flow have the names of their specifications; danlu.flows does not know the registry.
for _union in (
    specs.Kernel,
    specs.Path,
    specs.Levels,
    specs.Weight,
    specs.Grid,
    specs.Sampler,
    specs.Coupling,
    specs.Prior,
):
    for _spec in set(get_args(get_args(_union)[0])) - {specs.Reflow}:  # its pairs are another run's
        builds(_spec)(getattr(flows, _spec.__name__.removesuffix("Path")))

_START, _PROBES = 0x73746172, 0x70726F62  # "star": where samples start; "prob"
_CHURN = 0x63687572  # "chur": noise that a sampler adds
_EXACT = 64  # numbers of a row, up to which a trace is exact
_POINTS, _PICTURES = 400, 36  # that are shown, of pictures the first by a terminal
_BESIDE = 6  # pictures on a terminal
Classes = torch.Tensor | None
LogDensity = Callable[[torch.Tensor], torch.Tensor]  # (batch, …) → (batch,)
NONE = -1  # of classes: it is not told


class Generation(Numbers):
    """Data from noise. Metrics of samples are on ``samples`` of them, from noise that is always the same.

    A row is made of two uniform numbers, for its time or level and for the coin whether its class is told,
    ``more`` of them, and ``normals`` times as many normal numbers as it has.

    With ``conditional``, the network is told the class of a row, but for a share ``unlabelled`` of them; a
    sample's field is then n + ``guidance`` · (c − n), of n without and c with the class (Ho & Salimans 2022).
    """

    pictured = True

    def __init__(
        self,
        source: Points | Finite,
        *,
        conditional: bool,
        unlabelled: float,
        guidance: float,
        steps: int,
        samples: int,
        judge: Judge,
        normals: int,
        more: int = 0,
        scaled: float = 1.0,
    ) -> None:
        size = math.prod(source.shape)
        super().__init__(source, random=2 + more + normals * size, scaled=scaled)
        self.conditional, self.unlabelled, self.guidance = conditional, unlabelled, guidance
        self.steps, self.samples = steps, samples
        self.guides = conditional and guidance != 1  # then the network is asked twice
        self.classes = source.classes
        if conditional:
            check_classes(source, "objective.conditional = true")
        self.inputs = self.shape, self.classes if conditional else 0
        self.likeness = Likeness(source, judge, samples)

    @abstractmethod
    def squares(self, model: nn.Module, example: Tensors) -> torch.Tensor:
        """What each row costs, (rows)."""

    @abstractmethod
    def field(self, model: nn.Module, x: torch.Tensor, t: torch.Tensor, classes: Classes) -> torch.Tensor:
        """What samplers follow, at x (rows, …) and t (rows)."""

    @abstractmethod
    def walk(
        self, field: Field, noise: torch.Tensor, uniform: torch.Tensor, steps: int, seen: Seen | None = None
    ) -> flows.Solution:
        """Samples in ``steps`` steps, of standard normal ``noise`` (count, …) and ``uniform`` (count);
        ``seen`` is given the start, and what became of it after each step."""

    @abstractmethod
    def back(self, field: Field, steps: int) -> tuple[Field, torch.Tensor, LogDensity]:
        """The way from data to noise, for likelihoods: a velocity, its times or levels, and ln p of what
        stands at their end."""

    @property
    @abstractmethod
    def shown_at(self) -> Mapping[str, float]:
        """The times or levels at which the field is drawn, by what they are called, from noise to data."""

    @torch.no_grad()
    def directions(self, model: nn.Module, points: Floats, label: int = NONE) -> dict[str, Floats]:
        """The velocity towards data at ``points`` [n, …], both as data are, at each of the times or levels
        that are shown, by name; of a class where the network is told classes (``NONE``: of none)."""
        x = beside(model, ((points - self.centre) / self.spread).astype(np.float32))
        classes = self.classes_of(model, len(points), label)
        velocity, times, _ = self.back(self.guided(model, classes), 1)
        towards = self.spread if times[0] > times[-1] else -self.spread  # the way back begins at the data
        return {
            name: towards * velocity(x, torch.full_like(x[:, 0], at)).double().cpu().numpy()
            for name, at in self.shown_at.items()
        }

    def log_likelihood(self, model: nn.Module, data: Any, classes: Any, steps: int = 64) -> Floats:
        """ln p of ``data`` [n, …], scaled as data are, in nats: [n], by the change of variables; of the
        classes given, where the network is told classes. The trace is exact up to 64 numbers a row, and
        beyond the mean of 4 estimates (Hutchinson)."""
        rows = beside(model, ((data - self.centre) / self.spread).astype(np.float32))
        told = beside(model, np.asarray(classes)) if self.conditional else None
        velocity, times, log_prior = self.back(lambda x, t: self.field(model, x, t, told), steps)
        probes = None
        if self.numbers > _EXACT:
            coins = [Counter(probe, 0, _PROBES).uniform(0, len(data), self.numbers) for probe in range(4)]
            probes = beside(model, np.sign(np.stack(coins) - 0.5).reshape(4, *data.shape))
        found = flows.log_likelihood(velocity, rows, times, log_prior, probes)
        return found.value.cpu().numpy() - self.numbers * math.log(self.spread)

    @torch.no_grad()
    def generate(
        self,
        model: nn.Module,
        count: int,
        *,
        seed: int = 0,
        steps: int | None = None,
        label: int | None = None,
        seen: Callable[[Floats], None] | None = None,
    ) -> Floats:
        """``count`` samples, scaled as data are, [count, …], in ``steps`` steps or those of the
        specification; where the network is told classes, of the class ``label``, or of all in turn.
        ``seen`` is given the noise and what it is after each step."""
        uniform = Counter(seed, 0, _START).uniform(0, count, self.numbers + 1)
        noise, start = beside(model, self.noise_of(uniform[:, 1:])), beside(model, uniform[:, 0])
        classes = self.classes_of(model, count, label)

        def scaled(x: torch.Tensor) -> Floats:
            return self.scaled_back(x.double().cpu())

        each = None if seen is None else lambda x: seen(scaled(x))
        field = self.guided(model, classes)
        return scaled(self.walk(field, noise, start, steps or self.steps, each).x)

    def guided(self, model: nn.Module, classes: Classes) -> Field:
        """What samples of ``classes`` follow."""
        none = None if classes is None else torch.full_like(classes, NONE)

        def field(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            found = self.field(model, x, t, classes)
            if not self.guides:
                return found
            untold = self.field(model, x, t, none)
            return untold + self.guidance * (found - untold)

        return field

    def added(self, solver: flows.Sampler, noise: torch.Tensor, steps: int) -> torch.Tensor | None:
        """What a stochastic ``solver`` adds to samples that begin as ``noise`` (count, …): (steps, count, …);
        None for others."""
        if not isinstance(solver, flows.Churn):
            return None
        drawn = [Counter(step, 0, _CHURN).normal(0, len(noise), self.numbers) for step in range(steps)]
        return torch.from_numpy(np.stack(drawn)).view(steps, *noise.shape).to(noise.device)

    def noise_of(self, uniform: Floats) -> NDArray[np.float32]:
        """Noise of uniform numbers [rows, numbers], as the data are shaped."""
        return normal(uniform).astype(np.float32).reshape(-1, *self.shape)

    def classes_of(self, model: nn.Module, count: int, label: int | None = None) -> Classes:
        """Of samples: ``label``, or the first, the second …; None where the network is not told."""
        if not self.conditional:
            return None
        return beside(model, np.full(count, label) if label is not None else np.arange(count) % self.classes)

    def sample(self, model: nn.Module) -> Sample | None:
        return self.show(self.generate(model, _POINTS if len(self.shape) == 1 else _PICTURES))

    def show(self, made: Floats) -> Sample:
        """Samples, as points or as pictures."""
        data = self.source.held_out[0]
        if len(self.shape) == 1:
            points: dict[str, NDArray[Any]] = {"held-out data": data[: len(made)], "samples": made}
            return Sample("points", scattered(made), {"points": made.tolist()}, points=points)
        scaled = {"samples": inked(made, data)}
        return Sample("picture", shaded(made[:_BESIDE]), {"images": made.tolist()}, scaled)

    def told(self, classes: Any, coin: Floats) -> Any:
        """The classes that the network is told."""
        return np.where(coin < self.unlabelled, NONE, classes).astype(np.int64)

    def loss(self, model: nn.Module, example: Tensors) -> Losses:
        return Losses(self.squares(model, example).sum())

    def score(self, model: nn.Module, example: Tensors) -> dict[str, torch.Tensor]:
        squares = self.squares(model, example)
        return {"squares": squares.sum(), "numbers": example["weight"].sum() * self.numbers}

    def measure(self, sums: Mapping[str, float]) -> dict[str, float]:
        return {"held_out_loss": sums["squares"] / sums["numbers"]}

    def judge(self, model: nn.Module) -> dict[str, float]:
        return self.likeness.metric(self.generate(model, self.samples))
