"""Normalisations y = a·(x − μ)/σ + b of activations (…, positions, width).

They differ in what μ and σ are taken over and in where a and b come from.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.distributed
import torch.nn as nn
import torch.nn.functional as F

from danlu import spec
from danlu.nn.conditions import Generated
from danlu.nn.contracts import Norm
from danlu.nn.derivatives import by_operators
from danlu.nn.registry import builds
from danlu.nn.shares import Share
from danlu.nn.stacked import each


def _exact(x: torch.Tensor) -> torch.dtype:
    """The type for statistics: float32, or float64 where ``x`` has it."""
    return torch.promote_types(x.dtype, torch.float32)


class _RMS(torch.autograd.Function):
    """x / √(mean x² + ε) in few passes over memory.

    PyTorch's own ``rms_norm`` is a chain of five operations on a CPU, each a pass over memory, and
    keeps float32 copies for the backward pass; this one keeps the output and one number a row. That
    number, 1/√(mean x² + ε), is an output too: what is kept then has gradients, for second derivatives.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
        width = x.shape[-1]
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=_exact(x)).square()
        scale = torch.rsqrt(square / width + eps).to(x.dtype)
        y = x * scale
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(y, scale)
        return y, scale

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[torch.Tensor | None, None]:
        dy, dscale = grads
        y, scale = ctx.saved_tensors
        dx = None
        if dy is not None:
            mean = (dy * y).mean(dim=-1, keepdim=True)
            dx = torch.addcmul(dy, y, mean, value=-1).mul_(scale)
        if dscale is not None:  # only of a second derivative: −scale³ x/width
            more = y * (dscale * scale.square() / -y.shape[-1])
            dx = more if dx is None else dx + more
        return dx, None


def rms_norm(x: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    """x / √(mean x² + ε) over the last dimension (Zhang & Sennrich 2019, eq. 4), without gain.

    Shapes: (…, width) → (…, width), in the type of ``x``; the mean square is taken in float32.
    """
    if by_operators(x):
        return F.rms_norm(x, x.shape[-1:], eps=eps)
    y, _ = _RMS.apply(x, eps)
    return y


class _Norm(Norm):
    """y = a·(x − μ)/σ + b: what all norms share. A norm says what μ and σ are in ``standardise``.

    ``gain``, ``bias``: whether a and b are learned, float32 parameters of these names, (width,).
    With ``around_one`` the parameter ``gain`` holds w, initially 0, and a = 1 + w.
    """

    stackable = True

    def __init__(self, width: int, eps: float, gain: bool, bias: bool, around_one: bool = False) -> None:
        super().__init__()
        self.eps = eps
        self.around_one = around_one
        start = torch.zeros if around_one else torch.ones
        self.gain = nn.Parameter(start(width)) if gain else None
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def standardise(self, x: torch.Tensor) -> torch.Tensor:
        """(x − μ)/σ in the type of ``x`` or a more exact one."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # 1 + w rounded to bfloat16 would lose a small w, so Gemma multiplies before the cast.
        y = self.standardise(x.to(_exact(x)) if self.around_one else x)
        a, b = self.affine(y.dtype)
        y = y if a is None else each(torch.mul, a, 1, y)
        return (y if b is None else each(torch.add, b, 1, y)).to(x.dtype)

    def affine(self, dtype: torch.dtype) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """a and b in ``dtype``; None where they are not learned."""
        a, b = (p if p is None else p.to(dtype) for p in (self.gain, self.bias))
        return (1 + a if self.around_one and a is not None else a), b


@builds(spec.RMSNorm)
class RMSNorm(_Norm):
    """Root-mean-square norm (Zhang & Sennrich 2019, eq. 4): a · x / √(mean x² + ε).

    Args: ``width`` of the last dimension; ``eps``; ``gain``: whether a is learned (initially 1);
    ``around_one``: a = 1 + w with w learned (initially 0) and multiplied in float32 (Gemma).
    Shapes: (…, width) → (…, width), in the type of the input.

    >>> round(float(RMSNorm(8, gain=False)(torch.randn(8)).square().mean()), 3)
    1.0
    """

    def __init__(self, width: int, *, eps: float = 1e-5, gain: bool = True, around_one: bool = False) -> None:
        super().__init__(width, eps, gain, False, around_one)

    def standardise(self, x: torch.Tensor) -> torch.Tensor:
        return rms_norm(x, self.eps)


@builds(spec.LayerNorm)
class LayerNorm(_Norm):
    """Layer norm (Ba, Kiros & Hinton 2016, eq. 4): a · (x − μ)/√(σ² + ε) + b, biased variance.

    Args: ``width`` of the last dimension; ``eps``; ``gain`` and ``bias``: whether a and b are learned;
    ``around_one`` as in ``RMSNorm``.
    Shapes: (…, width) → (…, width), in the type of the input.
    """

    def __init__(
        self,
        width: int,
        *,
        eps: float = 1e-5,
        gain: bool = True,
        bias: bool = False,
        around_one: bool = False,
    ) -> None:
        super().__init__(width, eps, gain, bias, around_one)

    def standardise(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], eps=self.eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same formula in one kernel of PyTorch's."""
        dtype = _exact(x) if self.around_one else x.dtype
        a, b = self.affine(dtype)
        members = next((len(p) for p in (a, b) if p is not None and p.ndim > 1), None)
        if members is None:
            return F.layer_norm(x.to(dtype), x.shape[-1:], a, b, self.eps).to(x.dtype)
        if x.is_cuda:
            return super().forward(x)
        rows = x.to(dtype).unflatten(0, (members, -1)).unbind()
        gains, biases = (([None] * members if p is None else p.unbind()) for p in (a, b))
        own = zip(rows, gains, biases, strict=True)  # one by one, so that each is what it is alone
        made = [F.layer_norm(one, x.shape[-1:], gain, bias, self.eps) for one, gain, bias in own]
        return torch.cat(made).to(x.dtype)


@builds(spec.GroupNorm)
class GroupNorm(_Norm):
    """Group norm (Wu & He 2018, eq. 7): layer norm within each of ``groups`` groups of neighbouring
    features of one position, so that no position sees another.

    Args: ``width`` of the last dimension; ``groups``, which divides it; ``eps``; ``gain`` and ``bias``:
    whether a and b are learned. Raises ValueError where ``groups`` does not divide ``width``.
    Shapes: (…, width) → (…, width), in the type of the input.
    """

    def __init__(
        self, width: int, *, groups: int = 4, eps: float = 1e-5, gain: bool = True, bias: bool = True
    ) -> None:
        if width % groups:
            raise ValueError(f"groups = {groups} does not divide width = {width}")
        super().__init__(width, eps, gain, bias)
        self.groups = groups

    def standardise(self, x: torch.Tensor) -> torch.Tensor:
        grouped = x.unflatten(-1, (self.groups, -1))
        return F.layer_norm(grouped, grouped.shape[-1:], eps=self.eps).flatten(-2)


@builds(spec.InstanceNorm)
class InstanceNorm(_Norm):
    """Instance norm (Ulyanov et al. 2016): each feature over the positions of its own sequence, in
    training and in evaluation alike; every position sees all others, later ones too, and one alone
    becomes b.

    Args: ``width`` of the last dimension; ``eps``; ``gain`` and ``bias``: whether a and b are learned.
    Shapes: (…, positions, width) → the same, in the type of the input; statistics in float32.
    """

    across_positions = True

    def __init__(self, width: int, *, eps: float = 1e-5, gain: bool = True, bias: bool = True) -> None:
        super().__init__(width, eps, gain, bias)

    def standardise(self, x: torch.Tensor) -> torch.Tensor:
        x = x.to(_exact(x))
        variance, mean = torch.var_mean(x, dim=-2, correction=0, keepdim=True)
        return (x - mean) * torch.rsqrt(variance + self.eps)


@builds(spec.BatchNorm)
class BatchNorm(_Norm):
    """Batch norm (Ioffe & Szegedy 2015, algorithm 1): each feature over all sequences and positions.

    In training by the moments of the batch (biased variance), so that what one sequence becomes depends
    on the others; in evaluation by the running averages ``mean`` and ``variance`` (buffers, float32), a
    fixed linear map. A training forward moves them: a new batch weighs ``momentum``, and its variance is
    the unbiased one (PyTorch's convention). They are as old as about 1/momentum forward passes, and each
    pass counts, so that accumulated parts of a batch are batches of their own.

    Args: ``width`` of the last dimension; ``eps``; ``momentum``; ``statistics``: of the ``batch`` that this
    process sees; ``synchronised``, of all processes, or ``frozen``, the running averages, in training too;
    ``gain`` and ``bias``: whether a and b are learned. Shapes: (…, width) → (…, width), in the type of the
    input. Raises ValueError in training for a single row, which has no variance.
    """

    across_positions = True
    stackable = False
    mean: torch.Tensor
    variance: torch.Tensor
    over: torch.distributed.ProcessGroup | None = None  # those with other rows; None: all processes

    def __init__(
        self,
        width: int,
        *,
        eps: float = 1e-5,
        momentum: float = 0.1,
        statistics: Literal["batch", "synchronised", "frozen"] = "batch",
        gain: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__(width, eps, gain, bias)
        self.momentum, self.statistics = momentum, statistics
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def standardise(self, x: torch.Tensor) -> torch.Tensor:
        x = x.to(_exact(x))
        if not self.training or self.statistics == "frozen":
            return self._by(x, self.mean.to(x.dtype), self.variance.to(x.dtype))
        rows, mean, variance = self._moments(x)
        y = self.by_batch(x, mean, variance)
        with torch.no_grad():
            unbiased = variance * (rows / (rows - 1))
            self.mean.lerp_(mean.to(self.mean.dtype), self.momentum)
            self.variance.lerp_(unbiased.to(self.variance.dtype), self.momentum)
        return y

    def by_batch(self, x: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
        """What training makes of ``x`` with the ``mean`` and biased ``variance`` (width,) of its batch."""
        return self._by(x, mean, variance)

    def _by(self, x: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
        return (x - mean) * torch.rsqrt(variance + self.eps)

    def _moments(self, x: torch.Tensor) -> tuple[int, torch.Tensor, torch.Tensor]:
        """Rows, mean and biased variance of the batch."""
        over = tuple(range(x.ndim - 1))
        if self.statistics == "synchronised" and torch.distributed.is_initialized():
            rows, mean, variance = _moments_of_all(x, over, Share(0, 1, self.over))
        else:
            rows = x.numel() // x.shape[-1]
            variance, mean = torch.var_mean(x, dim=over, correction=0)
        if rows < 2:
            raise ValueError(f"batch norm in training needs two rows or more; the batch has {rows}")
        return rows, mean, variance


def _moments_of_all(
    x: torch.Tensor, over: tuple[int, ...], all_rows: Share
) -> tuple[int, torch.Tensor, torch.Tensor]:
    """Rows, mean and biased variance (width,) over processes, whose numbers of rows may differ."""
    own = x.new_tensor([x.numel() / x.shape[-1]])
    together = all_rows.sum(torch.cat([x.sum(over), own]))
    rows = int(together[-1])
    mean = together[:-1] / rows
    return rows, mean, all_rows.sum((x - mean).square().sum(over)) / rows


@builds(spec.NoNorm)
class NoNorm(Norm):
    """x as it is: what stands in the place of a batch norm that was folded into the maps beside it."""

    def __init__(self, width: int) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@builds(spec.FiLM)
class FiLM(Generated):
    """Feature-wise linear modulation (Perez et al. 2018, eq. 2) of a layer norm: a·(x − μ)/σ + b, where
    (a − 1, b) is a linear map of a condition, 0 at the start.

    Args: ``width`` of the last dimension; ``condition``: numbers in a condition; ``eps``.
    Shapes: (batch, …, width) and (batch, condition) → (batch, …, width), in the type of the input.
    """

    def __init__(self, width: int, *, condition: int = 16, eps: float = 1e-5) -> None:
        super().__init__(width, condition, 2)
        self.eps = eps

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        exact = _exact(x)
        a, b = (part.to(exact) for part in self.generated(x, condition))
        y = F.layer_norm(x.to(exact), x.shape[-1:], eps=self.eps)
        return ((1 + a) * y + b).to(x.dtype)
