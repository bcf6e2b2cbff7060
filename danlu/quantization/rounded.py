"""Linear maps whose weights or inputs are rounded where they are used."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from danlu.quantization.fake import fake_quantize
from danlu.quantization.formats import Format
from danlu.quantization.integers import Integers
from danlu.quantization.learned import LSQ, ParetoQ
from danlu.quantization.products import OF_WEIGHTS, Whole, multiplies, round_and_multiply, whole
from danlu.quantization.quantized import Quantized, quantize

Rounding = Callable[[Tensor], Tensor]  # an nn.Module where it learns something
PAYS = 384 * 384  # weights of a map: below, rounding costs more than products save (bench/quantized.py)


class Rounded(nn.Linear):
    """What ``rounded`` makes of a linear map: a base beside the class that it had.

    ``weight`` is, for whoever reads it, the rounded weight in float32; the parameter of that name, which is
    trained and kept, holds exact numbers. So names of parameters stay, and parts that use the weight in
    another way than a product are right too. While not ``active``, the map is as it was.
    """

    active: bool
    rounding: Rounding | None
    inputs: Format | None
    integers: Whole | None = None

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        weight = self._parameters["weight"]
        assert weight is not None
        # FSDP2 looks for its shards by this name: they stay exact, and what it gathers of them is rounded.
        if not self.active or self.rounding is None or hasattr(weight, "full_tensor"):
            return weight
        return self.rounding(weight)

    def forward(self, x: Tensor) -> Tensor:
        if self.active and self._by_integers(x):
            assert self.integers is not None and isinstance(self.inputs, Integers)
            return round_and_multiply(x, self.inputs, self.integers, self.bias)
        if self.active and self.inputs is not None:
            x = fake_quantize(x, self.inputs)
        y: Tensor = super().forward(x)
        return y

    def _by_integers(self, x: Tensor) -> bool:
        """Whether it has integers, where ``x`` is, and no gradient is asked for, of which they have none."""
        if self.integers is None or self.integers.integers.device != x.device:
            return False
        weight = self._parameters["weight"]
        assert weight is not None
        return not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))


@cache
def _class_of(kind: type[nn.Linear]) -> type[Rounded]:
    return type(f"Rounded{kind.__name__}", (Rounded, kind), {})


def rounded(
    linear: nn.Linear,
    weight: Format | nn.Module | None,
    inputs: Format | None = None,
    *,
    active: bool = True,
) -> None:
    """Let ``linear`` round its weight and its inputs at use, in place; it is a ``Rounded`` afterwards.

    ``weight``: a format, whose scales follow the weight, or a module with learned ones (``LSQ``,
    ``ParetoQ``), which becomes its submodule ``rounding``; ``inputs``: a format; None: exact.
    """
    rounding: Any = partial(fake_quantize, format=weight) if isinstance(weight, Format) else weight
    linear.__class__ = _class_of(type(linear))  # type: ignore[arg-type]
    assert isinstance(linear, Rounded)
    linear.rounding, linear.inputs, linear.active = rounding, inputs, active


def multiply_integers(model: nn.Module, weights: Mapping[str, Quantized], *, least: int = PAYS) -> int:
    """Let the maps of ``model`` that round their inputs, and have ``least`` weights or more, multiply int8
    numbers with exact sums, where formats allow it (``multiplies``) and no gradient is asked for; gives their
    number. The function stays as it was, to float32's rounding. ``weights``: theirs, by name."""
    count = 0
    for name, module in model.named_modules():
        q = weights.get(f"{name}.weight")
        if not isinstance(module, Rounded) or q is None or math.prod(q.shape) < least:
            continue
        if multiplies(module.inputs, q.format):
            module.integers = whole(q, name, OF_WEIGHTS)
            count += 1
    return count


def unrounded(linear: nn.Linear) -> Quantized | None:
    """Undo ``rounded`` in place. If it was active, the weight is from now on what it was rounded to, which is
    given back in few bits; else None."""
    if not isinstance(linear, Rounded):
        return None
    found, rounding = None, linear.rounding
    weight = linear._parameters["weight"]
    assert weight is not None
    if linear.active and rounding is not None:
        if isinstance(rounding, LSQ | ParetoQ):
            found = rounding.quantize(weight.detach())
        else:
            found = quantize(weight.detach(), rounding.keywords["format"])  # type: ignore[attr-defined]
        with torch.no_grad():
            weight.copy_(found.dequantize())
    del linear.rounding, linear.inputs, linear.active
    linear.__class__ = type(linear).__bases__[1]
    return found
