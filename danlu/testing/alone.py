"""A part outside of any model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn as nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from danlu import spec
from danlu.nn import build
from danlu.nn.feed_forwards import activation_of
from danlu.spec.families import Family
from danlu.testing.place import BATCH, HEADS, LENGTH, WIDTH
from danlu.testing.report import Report, Told, Wrong, first_line

RTOL, ATOL = 1e-4, 1e-5  # of float32, where the order of sums differs
SIZE = WIDTH // HEADS


class Alone:
    """``inputs``: random ones; ``make``: a new part; ``run``: what it makes of them, by whichever method."""

    def __init__(self, family: Family, experiment: spec.Experiment) -> None:
        self.name, self.model = family.name, experiment.network
        self.acts_on = self.model.position.acts_on if self.name == "position" else None
        draw = torch.Generator().manual_seed(1)
        shapes: list[tuple[int, ...]] = [(BATCH, LENGTH, WIDTH)] * (2 if self.name == "residual" else 1)
        if self.acts_on is not None:
            shapes = [] if self.acts_on == "embedding" else [(BATCH, HEADS, LENGTH, SIZE)]
        self.inputs = [torch.randn(shape, generator=draw) for shape in shapes]

    def make(self) -> Any:
        """A new one, weights drawn from the same numbers each time."""
        torch.manual_seed(2)
        model = self.model
        match self.name:
            case "norm":
                return build(model.norm, WIDTH)
            case "activation":
                return activation_of(model.feed_forward.activation)
            case "mixer":
                return build(model.mixer, WIDTH, model.position, bias=False)
            case "feed_forward":
                return build(model.feed_forward, WIDTH, bias=False)
            case "residual":
                return build(model.residual, WIDTH)
        around = {"embedding": (WIDTH, LENGTH), "heads": (SIZE,), "scores": (HEADS, SIZE)}
        return build(model.position, *around[model.position.acts_on])

    def run(self, part: Any, *inputs: torch.Tensor) -> torch.Tensor:
        if self.acts_on == "embedding":
            return part.at(0, LENGTH)
        if self.acts_on == "scores":
            q = inputs[0]
            return part.products(q, q, 0) if hasattr(part, "products") else part.bias(q, LENGTH, 0, True)
        return part(*inputs)

    def check(self, report: Report) -> None:
        report.add("shape", self.shape)
        report.add("type of activations", self.types)
        report.add("gradients", self.gradients)
        report.add("second derivatives", self.second_derivatives)
        report.add("the same twice", self.twice)
        if self.name in ("norm", "mixer", "feed_forward", "activation"):
            report.add("order", self.order)
        if self.name in ("mixer", "feed_forward"):
            report.add("FLOPs", self.flops)
        if self.name == "mixer":
            report.add("cache", self.cache)

    def shape(self) -> str:
        if self.acts_on == "embedding":
            allowed: list[tuple[int, ...]] = [(LENGTH, WIDTH)]
        elif self.acts_on == "scores":
            allowed = [(HEADS, LENGTH, LENGTH), (BATCH, HEADS, LENGTH, LENGTH)]
        else:
            allowed = [tuple(self.inputs[0].shape)]
        shape = tuple(self.run(self.make(), *self.inputs).shape)
        if shape not in allowed:
            raise Wrong(f"{shape} is not {' or '.join(map(str, allowed))}")
        return str(shape)

    def types(self) -> str:
        if not self.inputs:
            raise Told("it has no input")
        for dtype in (torch.float32, torch.bfloat16):
            out = self.run(self.make(), *(x.to(dtype) for x in self.inputs))
            if out.dtype != dtype:
                raise Wrong(f"{dtype} in, {out.dtype} out")
            if not bool(out.isfinite().all()):
                raise Wrong(f"the output is not finite in {dtype}")
        return "float32 and bfloat16"

    def gradients(self) -> str:
        part = self.make()
        out = self.run(part, *(x.clone().requires_grad_() for x in self.inputs))
        if out.requires_grad:
            out.square().sum().backward()
        named = part.named_parameters() if isinstance(part, nn.Module) else ()
        if idle := [name for name, p in named if p.requires_grad and p.grad is None]:
            raise Wrong(f"no gradient reaches {', '.join(idle)}")
        pure, given = self._pure()
        gradcheck(pure, given, atol=1e-5, rtol=1e-3)
        return "as finite differences in float64"

    def second_derivatives(self) -> str:
        pure, given = self._pure()
        try:
            gradgradcheck(pure, given, atol=1e-4, rtol=1e-3)
        except Exception as error:
            raise Told(f"not right: {first_line(error)}") from None
        raise Told("as finite differences in float64")

    def _pure(self) -> tuple[Callable[..., torch.Tensor], list[torch.Tensor]]:
        """The part as a function of inputs and weights, in float64. Raises ``Told`` where it has neither."""
        part, count = self.make(), len(self.inputs)
        caller = _Caller(part, self.run)
        caller.double().eval()
        names = [name for name, p in caller.named_parameters() if p.requires_grad]
        weights = [p.detach().clone() for p in caller.parameters() if p.requires_grad]
        given = [t.requires_grad_() for t in (*(x.double() for x in self.inputs), *weights)]
        if not given:
            raise Told("nothing to differentiate by")

        def pure(*now: torch.Tensor) -> torch.Tensor:
            held = dict(zip(names, now[count:], strict=True))
            out: torch.Tensor = functional_call(caller, held, now[:count])
            return out

        return pure, given

    def twice(self) -> str:
        def once() -> list[torch.Tensor]:
            part = self.make()
            given = [x.clone().requires_grad_() for x in self.inputs]
            torch.manual_seed(3)
            out = self.run(part, *given)
            if out.requires_grad:
                out.square().sum().backward()
            weights = list(part.parameters()) if isinstance(part, nn.Module) else []
            return [out.detach(), *(t.grad for t in (*given, *weights) if t.grad is not None)]

        if not all(map(torch.equal, once(), once())):
            raise Wrong("output or gradients differ")
        return "output and gradients, bit for bit"

    def order(self) -> str:
        if self.name == "norm" and self.model.norm.across_positions:
            raise Told("it says that it looks across positions")
        part, (x,), half = self.make(), self.inputs, LENGTH // 2
        if isinstance(part, nn.Module):
            part.eval()
        other = x.clone()
        other[:, half:] += 1
        if not torch.allclose(self.run(part, x)[:, :half], self.run(part, other)[:, :half], RTOL, ATOL):
            raise Wrong("a position sees those after it")
        return "no position sees one after it"

    def flops(self) -> str:
        part = self.make().eval()
        said = part.flops(BATCH, LENGTH) if self.name == "mixer" else part.flops(BATCH * LENGTH)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            self.run(part, *self.inputs)
        if said != counter.get_total_flops():
            raise Wrong(f"it says {said:,}, PyTorch counts {counter.get_total_flops():,}")
        return f"{said:,}"

    def cache(self) -> str:
        part, (x,) = self.make().eval(), self.inputs
        with torch.no_grad():
            whole, cache = part(x), part.cache(BATCH, LENGTH)
            one_by_one = [part(x[:, i : i + 1], None, cache) for i in range(LENGTH)]
        if not torch.allclose(torch.cat(one_by_one, 1), whole, RTOL, ATOL):
            raise Wrong("one position after another differs from all at once")
        return "one position after another, as all at once"


class _Caller(nn.Module):
    """A module that runs a part, so that its weights can be replaced."""

    def __init__(self, part: Any, run: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.part, self.run = part, run

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        return self.run(self.part, *x)
