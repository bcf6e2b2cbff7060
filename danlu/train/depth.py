"""What depth does to a network at its start: how far one update moves its output, and how the stream and the
gradients change from layer to layer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn as nn
from torch import Tensor

from danlu import spec
from danlu.curvature import signs
from danlu.inspection.numbers import cosine_of_rows, rms
from danlu.models.stack import Stack
from danlu.nn import BatchNorm
from danlu.objectives import Draw, Objective
from danlu.objectives.base import beside
from danlu.train.admin import measure_omegas
from danlu.train.assemble import network, objective_of
from danlu.train.coordinates import noise
from danlu.train.errors import RunError

Update = Literal["sign", "gradient"]
ROWS = 4  # of the batch; two at least, whose streams are compared
LINEAR = 0.15  # half of the step may change the output by so much more or less than half


@dataclass(frozen=True)
class Depth:
    """One network at its initial weights.

    ``layers``; ``change``: root mean square of the change of the last normed stream by one step, ``half`` by
    half of it; ``loss_change`` by the step, ``first_order``: what the gradient says of it. By layer, from the
    first to the last: ``gradient``, Euclidean norm of the gradient of the block's weights; ``gain``, mean
    squared singular value of the block's Jacobian (χ); and of the stream before the first block and after
    each: ``stream``, its root mean square, ``cosine``, mean cosine of two rows at the same position.
    """

    layers: int
    change: float
    half: float
    loss_change: float
    first_order: float
    gradient: tuple[float, ...]
    gain: tuple[float, ...]
    stream: tuple[float, ...]
    cosine: tuple[float, ...]

    @property
    def linear(self) -> bool:
        """Whether the change is of the first order: half of the step makes half of it."""
        return self.change > 0 and abs(2 * self.half / self.change - 1) <= LINEAR


def depth(experiment: spec.Experiment, step: float = 1e-6, update: Update = "sign") -> Depth:
    """Look at ``experiment``'s network on random tokens (images and points as they are), in float64 on the
    CPU, without dropout, clipping, warm-up and decay.

    ``update``: what is taken ``step`` times from the weights: ``sign`` of the gradient, which is the first
    step of Adam, or the ``gradient`` itself. A readout that starts at zero is drawn like other maps: at zero
    the first update would move it alone. Raises ``RunError`` for a network without blocks, and where the
    loss is not finite.
    """
    experiment, train = _drawn(experiment), experiment.train
    rows, seed = max(2, min(train.rows, ROWS)), train.seed
    objective = objective_of(experiment, noise(experiment, rows, seed))
    torch.manual_seed(seed)
    model = network(experiment, objective)
    stacks = [module for module in model.modules() if isinstance(module, Stack)]
    if not stacks:
        raise RunError(
            f"model.kind = {experiment.model.kind} has no blocks of a transformer; name an experiment "
            "that has"
        )
    measure_omegas(model, experiment, objective)
    model = model.double().eval()
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.train()  # its running averages know nothing yet
    model.compute = torch.float64
    return _Look(model, stacks[-1], objective, Draw(seed, 0, 0, 0, rows)).result(step, update)


def _drawn(experiment: spec.Experiment) -> spec.Experiment:
    init = getattr(experiment.model, "init", None)
    if init is None or init.readout != 0:
        return experiment
    init = init.model_copy(update={"readout": None})
    return experiment.model_copy(update={"model": experiment.model.model_copy(update={"init": init})})


class _Pass(NamedTuple):
    """``loss`` of a term, the ``last`` stream, normed, what each block was ``given``, what the last one
    gave."""

    loss: Tensor
    last: Tensor
    given: list[tuple[Any, ...]]
    stream: Tensor


class _Look:
    """The network of one ``stack`` whose output is looked at, and the example that it learns from."""

    def __init__(self, model: Any, stack: Stack, objective: Objective, draw: Draw) -> None:
        self.model, self.objective, self.blocks, self.norm = model, objective, list(stack.blocks), stack.norm
        example = objective.example(draw)
        self.example = {name: _exact(beside(model, array)) for name, array in example.items()}
        self.terms = draw.stop * objective.count

    def result(self, step: float, update: Update) -> Depth:
        loss, before, given, end = self.forward()
        loss.backward()
        if not torch.isfinite(loss):
            raise RunError(
                f"the loss of {len(self.blocks)} layers is {loss}; take fewer, or other initial weights"
            )
        named = {name: p for name, p in self.model.named_parameters() if p.grad is not None}
        weights, gradients = list(named.values()), [p.grad for p in named.values()]
        direction = [g.sign() for g in gradients] if update == "sign" else gradients
        after = self.moved(weights, direction, step)
        half = self.moved(weights, direction, step / 2)
        streams = [*(inputs[0] for inputs in given), end]
        return Depth(
            layers=len(self.blocks),
            change=float(rms(after.last - before)),
            half=float(rms(half.last - before)),
            loss_change=float(after.loss - loss.detach()),
            first_order=-step * sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True)),
            gradient=tuple(_norm(block) for block in self.blocks),
            gain=tuple(gain(block, inputs) for block, inputs in zip(self.blocks, given, strict=True)),
            stream=tuple(float(rms(x.detach())) for x in streams),
            cosine=tuple(float(cosine_of_rows(x.detach())) for x in streams),
        )

    @torch.no_grad()
    def moved(self, weights: list[Tensor], direction: Sequence[Tensor], step: float) -> _Pass:
        """``forward`` after the step, which is taken back."""
        kept = [w.clone() for w in weights]
        torch._foreach_add_(weights, list(direction), alpha=-step)
        try:
            return self.forward()
        finally:
            torch._foreach_copy_(weights, kept)

    def forward(self) -> _Pass:
        """A pass, with what its blocks were given."""
        given: dict[nn.Module, tuple[Any, ...]] = {}
        outputs: dict[nn.Module, Tensor] = {}
        with ExitStack() as stack:
            for block in self.blocks:
                stack.callback(block.register_forward_pre_hook(given.__setitem__).remove)
            for module in (self.blocks[-1], self.norm):
                hook = lambda module, inputs, output: outputs.__setitem__(module, output.detach())  # noqa: E731
                stack.callback(module.register_forward_hook(hook).remove)
            loss = self.objective.loss(self.model, self.example).total / self.terms
        streams = [given[block] for block in self.blocks]
        return _Pass(loss, outputs[self.norm], streams, outputs[self.blocks[-1]])


def gain(block: nn.Module, given: tuple[Any, ...]) -> float:
    """‖J‖²/n of the Jacobian J of ``block`` at its first input, n numbers of output: the mean square of its
    singular values, χ = E[φ′²] σ_w² in a wide dense layer (Schoenholz et al. 2017, arXiv:1611.01232, section
    4). Estimated, since E‖Jᵀv‖² of random signs v is ‖J‖²."""
    x = given[0].detach().requires_grad_()
    y = block(x, *given[1:])
    v = signs(y, torch.Generator().manual_seed(0))
    (back,) = torch.autograd.grad((y * v).sum(), x)
    return float(back.square().sum()) / y.numel()


def _norm(block: nn.Module) -> float:
    """Of the gradient of the block's weights."""
    return sum(float(p.grad.square().sum()) for p in block.parameters() if p.grad is not None) ** 0.5


def _exact(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor
