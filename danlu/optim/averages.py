"""Averages of the weights over updates (Polyak & Juditsky 1992), and of the outputs of several models."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.nn as nn

from danlu import spec
from danlu.nn.registry import builds
from danlu.optim.base import local

Of = Literal["probabilities", "logits"]


class Average:
    """A running average ē of parameters θ, beside them: ē ← ē + cₙ(θ − ē) with the n-th θ taken in.

    Args: ``named``, parameters by name (``model.named_parameters()``). Attributes: ``tensors``, ē by name, in
    float32 (float64 where the parameters are), sharded as they are; ``seen``, the updates since the average
    began. A model's buffers are not averaged: running averages of activations (BatchNorm) remain those of
    the weights as they are.

    Cost: four bytes a parameter, and each update that is taken in reads θ and ē and writes ē.
    """

    every = 1  # updates from one that is taken in to the next

    def __init__(self, named: Iterable[tuple[str, torch.Tensor]]) -> None:
        self.parameters = dict(named)  # themselves: their memory may move
        self.tensors = {
            name: torch.zeros_like(p, dtype=torch.promote_types(p.dtype, torch.float32))
            for name, p in self.parameters.items()
        }
        self.seen = 0

    def weight(self, count: int) -> float:
        """c of the ``count``-th that is taken in, from 1; c₁ = 1."""
        raise NotImplementedError

    def begins(self, progress: float) -> bool:
        """Whether weights of this share of the run belong to the average."""
        return True

    @torch.no_grad()
    def update(self, progress: float = 1.0) -> None:
        """Take in the parameters as they are now, after an update at ``progress`` ∈ [0, 1] of the run."""
        if not self.begins(progress):
            return
        count, rest = divmod(self.seen, self.every)
        self.seen += 1
        if rest == 0:
            averages = [local(e) for e in self.tensors.values()]
            now = [local(p).to(e.dtype) for p, e in zip(self.parameters.values(), averages, strict=True)]
            torch._foreach_lerp_(averages, now, self.weight(count + 1))

    @contextmanager
    @torch.no_grad()
    def in_place(self) -> Iterator[None]:
        """Within, the parameters have the values of the average, rounded to their type; then their own again.

        Holds a second copy of the parameters meanwhile.
        """
        parameters = [local(p) for p in self.parameters.values()]
        own = [p.clone() for p in parameters]
        try:
            for p, e in zip(parameters, self.tensors.values(), strict=True):
                p.copy_(local(e))
            yield
        finally:
            torch._foreach_copy_(parameters, own)

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take over the ``tensors`` of another such average. Raises KeyError for a name missing."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])


@builds(spec.EMA)
class EMA(Average):
    """Exponential moving average, ē ← D_t ē + (1 − D_t) θ, D_t = min(D, (t − 1)/(t + 8)), D = 1 for None.

    Until D is reached (0.999: at update 8,992) the weights of the i-th are ∝ i(i + 1)…(i + 7), which is the
    polynomial-decay averaging of Shamir & Zhang 2013 (arXiv:1212.1824) with η = 8: mostly the last tenth, so
    that the beginning is forgotten. (TensorFlow's (1 + t)/(10 + t), begun with the first weights.)

    Args: ``decay`` D in [0, 1), or None.
    """

    def __init__(self, named: Iterable[tuple[str, torch.Tensor]], *, decay: float | None = 0.999) -> None:
        super().__init__(named)
        self.decay = decay

    def weight(self, count: int) -> float:
        return max(0.0 if self.decay is None else 1 - self.decay, 9 / (count + 8))


@builds(spec.SWA)
class SWA(Average):
    """The plain mean of weights along the run (Izmailov et al. 2018, algorithm 1): c_n = 1/n.

    Args: ``start``, the share of the run before which nothing is taken in; ``every``, of so many updates the
    first is.
    """

    def __init__(
        self, named: Iterable[tuple[str, torch.Tensor]], *, start: float = 0.75, every: int = 10
    ) -> None:
        super().__init__(named)
        self.start, self.every = start, every

    def weight(self, count: int) -> float:
        return 1 / count

    def begins(self, progress: float) -> bool:
        return progress >= self.start


def average_outputs(outputs: Sequence[torch.Tensor], of: Of = "probabilities") -> torch.Tensor:
    """Logits of the mean of several models' logits (…, classes).

    ``probabilities``: the softmax of what is returned is the mean of their softmaxes. ``logits``: the mean
    itself, whose softmax is the normalised geometric mean; a linear model's is that of the mean weights.
    """
    if of == "logits":
        return torch.stack(list(outputs)).mean(0)
    return torch.stack([each.log_softmax(-1) for each in outputs]).logsumexp(0).sub(math.log(len(outputs)))


class Ensemble(nn.Module):
    """Several models as one, whose logits are ``average_outputs`` of theirs; for comparison with one model of
    averaged weights, which is as many times cheaper."""

    def __init__(self, models: Iterable[nn.Module], of: Of = "probabilities") -> None:
        super().__init__()
        self.models, self.of = nn.ModuleList(models), of

    def forward(self, *args: Any, **more: Any) -> torch.Tensor:
        return average_outputs([model(*args, **more) for model in self.models], self.of)
