"""Autoencoders: data through a bottleneck and back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import torch
import torch.nn as nn
from numpy.typing import NDArray

from danlu import spec
from danlu.data import Counter, Finite
from danlu.data.points import Points
from danlu.models.pairs import Passed
from danlu.nn import build, builds
from danlu.nn.bottlenecks import (
    ActiveUnits,
    Bottleneck,
    Gaussian,
    Plain,
    Usage,
    annealing,
    importance_bound,
    information,
    keyed,
)
from danlu.nn.bottlenecks.narrow import MOST_COUNTED
from danlu.nn.outline import outlines
from danlu.objectives.base import Draw, Example, Losses, Sample, Tensors, beside, unwrapped
from danlu.objectives.code_prior import CodePrior
from danlu.objectives.likeness import Likeness
from danlu.objectives.numbers import Floats, Numbers
from danlu.objectives.pictures import inked, scattered, shaded
from danlu.spec import autoencode as specs
from danlu.spec import bottlenecks as bottleneck_specs
from danlu.spec.metrics import Judge

_DRAWN, _PRIOR = 0x6472617A, 0x7072696F  # "draz", "prio": draws of z in a bound, samples
_ROWS = 4096  # that are decoded at a time
_FITTED = 4096  # points of an endless set whose codes the prior is fitted to
_POINTS, _PICTURES = 400, 6  # that a terminal shows
_LOG_2PI = math.log(2 * math.pi)


@builds(spec.Autoencode)
class Autoencode(Numbers):
    """−ln p(x|z) + the penalty of the bottleneck, by example, of data with mean 0 and mean square 1.

    The loss that is reported is −ln p(x|z) + KL(q(z|x)‖p(z)) where there is such a KL, which is −ELBO,
    whatever weight, annealing and free bits make of it in training. Whole numbers, as the shades of a pixel,
    become real ones by a uniform number each (Uria, Murray & Larochelle 2013), so that a density of these
    bounds a probability of those.

    A row is made of a key, out of which comes what is random in the bottleneck, and of a uniform number for
    each of its whole numbers.
    """

    term, loss_unit, pictured = "example", "nats", True

    def __init__(
        self,
        source: Points | Finite,
        *,
        bottleneck: bottleneck_specs.Bottleneck,
        noise: float | Literal["learned"],
        anneal: specs.Annealing | None,
        draws: int,
        prior: int,
        samples: int,
        judge: Judge,
    ) -> None:
        shades = getattr(source.spec, "shades", 0)
        size = math.prod(source.shape)
        super().__init__(source, random=3 + (size if shades else 0))
        with outlines():
            described: Bottleneck = build(bottleneck)
        self.bottleneck, self.anneal = described, anneal
        self.draws, self.prior, self.samples = draws, prior, samples
        self.count, self.inputs = 1, (self.shape, bottleneck, noise)
        self.group = None if described.additive else "batch"
        # Between two shades, as the network sees data; of a real number the unit that a density is in.
        self.step = 1 / ((shades - 1) * self.spread) if shades else 1 / self.spread
        self.whole = bool(shades)
        self.likeness = Likeness(source, judge, samples)

    # ---------------------------------------------------------------- examples and loss

    def example(self, draw: Draw) -> Example:
        match self.anneal:
            case specs.Rise():
                factor = annealing.linear(draw.step, self.anneal.steps)
            case specs.Cycles():
                factor = annealing.cyclic(draw.step, self.anneal.period, self.anneal.rise)
            case None:
                factor = 1.0
        return super().example(draw) | {"factor": np.full(draw.stop - draw.start, factor, np.float32)}

    def made(self, data: Any, classes: Any, uniform: Floats) -> Example:
        if self.whole:
            between = (uniform[:, 3:].reshape(data.shape) - 0.5) * self.step
            data = (data + between).astype(np.float32)
        return {"data": data, "keys": (uniform[:, 2] * 2.0**53).astype(np.int64)}

    def loss(self, model: nn.Module, example: Tensors) -> Losses:
        passed: Passed = model(example["data"], example["keys"])
        bound = self._bound(passed, example["weight"])
        paid = passed.bottled.penalty * example["factor"].sum() if "factor" in example else 0.0
        return Losses(bound, (passed.nats * example["weight"]).sum() + paid - bound)

    def _bound(self, passed: Passed, weight: torch.Tensor) -> torch.Tensor:
        kl = passed.bottled.kl
        each = passed.nats if kl is None else passed.nats + kl.flatten(1).sum(1)
        return (each * weight).sum()

    def score(self, model: nn.Module, example: Tensors) -> dict[str, torch.Tensor]:
        passed: Passed = model(example["data"], example["keys"])
        squares = (passed.decoded - example["data"]).square().flatten(1).sum(1)
        return {
            "nats": self._bound(passed, example["weight"]),
            "squares": (squares * example["weight"]).sum(),
            "examples": example["weight"].sum(),
        }

    def measure(self, sums: Mapping[str, float]) -> dict[str, float]:
        nats = sums["nats"] / sums["examples"]
        error = sums["squares"] / sums["examples"] / self.numbers * self.spread**2
        found = {"reconstruction_error": error, "held_out_loss": nats}
        return found | ({"bits_per_dimension": self.bits(nats)} if self._gaussian else {})

    def bits(self, nats: float) -> float:
        """Bits of one number, of the nats of an example: of a shade, or of a real number as data are."""
        return nats / self.numbers / math.log(2) - math.log2(self.step)

    @property
    def _gaussian(self) -> bool:
        return isinstance(self.bottleneck, Gaussian)

    # ---------------------------------------------------------------- judgement

    @torch.no_grad()
    def judge(self, model: nn.Module) -> dict[str, float]:
        if isinstance(self.bottleneck, Plain):
            return {}
        found = self.likeness.metric(self.generate(model, self.samples))
        return found | (self._latent(model) if self._gaussian else self._codes(model))

    def _held_out(self, model: nn.Module) -> dict[str, torch.Tensor]:
        count = len(self.source.held_out[0])
        example = self.held_out().example(range(count), None)
        return {name: beside(model, array) for name, array in example.items()}

    def _latent(self, model: nn.Module) -> dict[str, float]:
        size, bounds, parts = self.bottleneck.gives, [], []
        units = ActiveUnits(size)
        example = self._held_out(model)
        for x, keys in _pieces(example["data"], example["keys"], rows=_ROWS // self.draws or 1):
            passed: Passed = model(x, keys)
            mean, log_variance = (part.flatten(0, -2) for part in passed.encoded.chunk(2, -1))
            units.add(mean)
            parts.append((mean, log_variance, passed.bottled.value.reshape(-1, size)))
            bounds.append(self._importance_bound(model, x, keys ^ _DRAWN, passed))
        mean, log_variance, z = (torch.cat(part) for part in zip(*parts, strict=True))
        said = information(mean, log_variance, z)
        return {
            "iwae_bits_per_dimension": self.bits(-float(torch.cat(bounds).mean())),
            "active_units": float(units.active()),
            "information": said.information,
        }

    def _importance_bound(self, model: nn.Module, x: Any, keys: Any, passed: Passed) -> torch.Tensor:
        """L_k of each example, of as many draws as the specification says: (rows,)."""
        mean, log_variance = passed.encoded.chunk(2, -1)
        places = math.prod(mean.shape[1:-1])
        noise = keyed(self.bottleneck.noise, keys, places * self.draws)
        assert noise is not None
        e = noise.view(len(x), self.draws, *mean.shape[1:]).transpose(0, 1).to(mean)
        z = mean + torch.exp(0.5 * log_variance) * e
        # ln p(z) − ln q(z|x), whose constants are one
        ratio = 0.5 * (e.square() + log_variance - z.square()).flatten(2).sum(-1)
        decoded = model(code=z.flatten(0, 1)).flatten(1)
        return importance_bound(self._log_likelihood(model, x, decoded) + ratio)

    def _log_likelihood(self, model: nn.Module, x: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
        whole = unwrapped(model)
        return whole.noise(x.flatten(1), decoded.view(self.draws, len(x), -1))

    def _codes(self, model: nn.Module) -> dict[str, float]:
        size, groups = self.bottleneck.codes, self.bottleneck.groups
        example = self._held_out(model)
        found = [model(x).bottled.codes.reshape(-1, groups) for (x,) in _pieces(example["data"])]
        codes = torch.cat(found)
        if size > MOST_COUNTED:  # no table holds all, and few of them are there
            there, codes = codes.unique(return_inverse=True)
            size = len(there)
        usage = Usage(size, groups)
        usage.add(codes)
        # Of several groups: of a vector, coded group by group
        return {
            "code_perplexity": float(usage.perplexity.log().mean().exp()),
            "used_codes": float(usage.used.double().mean()),
        }

    # ---------------------------------------------------------------- samples

    @torch.no_grad()
    def generate(self, model: nn.Module, count: int) -> Floats:
        """``count`` samples from the prior, scaled as data are, [count, …]: what a decoder's mean is."""
        whole = unwrapped(model)
        shape: tuple[int, ...] = whole.code_shape
        counter = Counter(0, 0, _PRIOR)
        if self._gaussian:
            drawn = counter.normal(0, count, math.prod(shape)).astype(np.float32)
            z = beside(model, drawn.reshape(count, *shape))
        else:
            z = self._of_prior(model, count, shape, counter)
        return self._seen(torch.cat([model(code=part) for (part,) in _pieces(z)]))

    def _of_prior(
        self, model: nn.Module, count: int, shape: tuple[int, ...], counter: Counter
    ) -> torch.Tensor:
        fitted = self.source
        data = fitted.fresh(1, _FITTED)[0] if isinstance(fitted, Points) else fitted.train[0]
        scaled = beside(model, ((data - self.centre) / self.spread).astype(np.float32))
        codes = torch.cat([model(x).bottled.codes for (x,) in _pieces(scaled)])
        table = codes.flatten(1).cpu().numpy()
        drawn = CodePrior(table, self.prior).draw(counter.uniform(0, count, 1 + table.shape[1]))
        whole = unwrapped(model)
        vectors: torch.Tensor = whole.bottleneck.look_up(beside(model, drawn).view(count, *codes.shape[1:]))
        return vectors.view(count, *shape)

    @torch.no_grad()
    def sample(self, model: nn.Module) -> Sample | None:
        """Held-out data, their reconstructions, draws from the prior; and what is behind them."""
        points = len(self.shape) == 1
        count = _POINTS if points else _PICTURES
        example = self._held_out(model)
        passed: Passed = model(example["data"][:count])
        shown: dict[str, NDArray[Any]] = {
            "data": self.source.held_out[0][:count],
            "reconstructions": self._seen(passed.decoded),
        }
        if not isinstance(self.bottleneck, Plain):
            shown["draws"] = self.generate(model, count)
        lines = []
        for name, rows in shown.items():
            lines += [name, scattered(rows) if points else shaded(rows), ""]
        about = self._about(model, example)
        lines += [f"{name.replace('_', ' ')}: {_said(value)}" for name, value in about.items()]
        data = {name: rows.tolist() for name, rows in shown.items()} | about
        if points:
            return Sample("points", "\n".join(lines), data, points=shown)
        scaled = {name: inked(rows, shown["data"]) for name, rows in shown.items()}
        return Sample("picture", "\n".join(lines), data, scaled)

    def _about(self, model: nn.Module, example: Tensors) -> dict[str, Any]:
        """The decoder's noise, as data are; the KL of each latent number, the largest first, and what the
        information cannot exceed."""
        whole = unwrapped(model)
        about: dict[str, Any] = {"decoder_noise": float(whole.noise.log_deviation.exp()) * self.spread}
        if self._gaussian:
            parts = [model(x).bottled.kl.flatten(0, -2) for (x,) in _pieces(example["data"])]
            kl = torch.cat(parts).double().mean(0).sort(descending=True).values
            about |= {"nats_by_dimension": kl.tolist(), "information_cap": math.log(len(example["data"]))}
        return about

    def _seen(self, decoded: torch.Tensor) -> Floats:
        return self.scaled_back(decoded.double().cpu())


def _pieces(*tensors: torch.Tensor, rows: int = _ROWS) -> Iterator[tuple[torch.Tensor, ...]]:
    """The tensors, ``rows`` rows at a time."""
    return zip(*(tensor.split(rows) for tensor in tensors), strict=True)


def _said(value: float | list[float]) -> str:
    return " ".join(f"{one:.3f}" for one in value) if isinstance(value, list) else f"{value:.4f}"
