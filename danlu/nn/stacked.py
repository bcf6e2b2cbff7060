"""K networks of one graph, its members, as one network.

Every weight has the members in a first dimension more, (K, …), and activations hold the rows of all members
one after another, (K·rows, …). What acts on rows (attention and its kernels, activations, sums) needs not
know; so only a part that holds weights says that it has a batched form, by ``stackable = True``. It sees in
the shape of a weight whether it is of members, and meets the rows with it by ``each`` or ``linear``.

On a CPU a member is what it is alone, bit for bit: sums over rows are taken in the same order.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

import torch
import torch.nn as nn
import torch.nn.functional as F

M = TypeVar("M", bound=nn.Module)

# Attributes of modules that see more than a row, or draw numbers of their own (``danlu.nn.auxiliary``).
_TOLD = ("auxiliary", "row_keys", "row_weights", "told")


def each(
    function: Callable[..., torch.Tensor], weight: torch.Tensor, dims: int, *x: torch.Tensor
) -> torch.Tensor:
    """``function(*x, weight)`` of activations (rows, …) and a weight of ``dims`` dimensions, in the type of
    the first. Of members: of (K, rows, …) and (K, 1 …, …), so that the gradient of a weight is one sum over
    the rows of its member, as it is alone."""
    weight = weight.to(x[0].dtype)
    if weight.ndim == dims:
        return function(*x, weight)
    members = len(weight)
    apart = weight.view(members, *[1] * (x[0].ndim - dims), *weight.shape[1:])
    return function(*(one.unflatten(0, (members, -1)) for one in x), apart).flatten(0, 1)


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """``F.linear``, all of one type: ``x`` (rows, …, in), ``weight`` (out, in), ``bias`` (out). Of members:
    (K·rows, …, in), (K, out, in) and (K, out)."""
    if weight.ndim == 2:
        return F.linear(x, weight, bias)
    rows = x.reshape(len(weight), -1, x.shape[-1])
    apart = rows.device.type == "cpu" and not _as_one(
        rows.shape, weight.shape[1], rows.dtype, bias is not None
    )
    return (_one_by_one if apart else _in_one)(rows, weight, bias).view(*x.shape[:-1], -1)


def _in_one(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """(K, rows, in), (K, out, in), (K, out) → (K, rows, out)."""
    return torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias[:, None], x, weight.mT)


def _one_by_one(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """The same, each as it is alone."""
    biases = [None] * len(weight) if bias is None else bias.unbind()
    return torch.stack([F.linear(*one) for one in zip(x.unbind(), weight.unbind(), biases, strict=True)])


@cache
def _as_one(rows: torch.Size, outputs: int, dtype: torch.dtype, biased: bool) -> bool:
    """Whether products of these shapes in one call are those of each member alone, bit for bit, gradients
    too: libraries add in another order for some. It is tried once in a process."""
    made = torch.Generator().manual_seed(0)
    members, _, inputs = rows
    shapes = [rows, (members, outputs, inputs), *([(members, outputs)] if biased else [])]
    given = [torch.randn(shape, generator=made).to(dtype) for shape in shapes]
    cotangent = torch.randn((members, rows[1], outputs), generator=made).to(dtype)
    found = []
    with torch.inference_mode(False), torch.enable_grad():
        for way in (_in_one, _one_by_one):
            x, weight, *bias = (one.clone().requires_grad_() for one in given)
            y = way(x, weight, bias[0] if bias else None)
            found.append((y, *torch.autograd.grad(y, [x, weight, *bias], cotangent)))
    return all(torch.equal(*pair) for pair in zip(*found, strict=True))


def beside(weight: torch.Tensor, x: torch.Tensor, dims: int) -> torch.Tensor:
    """A weight of ``dims`` dimensions that is added later to what is made of ``x`` (rows, …): as it is, or,
    of members, that of each row's own member, (rows, …)."""
    if weight.ndim == dims:
        return weight
    members, rows = len(weight), len(x)
    return weight[:, None].expand(-1, rows // members, *weight.shape[1:]).flatten(0, 1)


def not_stackable(model: nn.Module) -> str | None:
    """The first part of ``model`` that has no batched form, by its name, and why; None where all have one."""
    for name, module in model.named_modules():
        held = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        if held and not getattr(module, "stackable", False):
            why = "holds weights and has no batched form"
        elif isinstance(module, nn.Dropout) and module.p > 0:
            why = "draws random numbers, which would not be those of a run alone"
        elif told := [what for what in _TOLD if hasattr(module, what)]:
            why = f"looks at all rows of a pass ({told[0]})"
        elif getattr(module, "float8", False):
            why = "multiplies in eight bits"
        else:
            continue
        return f"{name or 'the model'} ({type(module).__name__}) {why}"
    return None


@torch.no_grad()
def stack(models: Sequence[M]) -> M:
    """One network that computes what all ``models`` do, which must be of one graph: rows of the first, then
    those of the second, and so on. Its attribute ``members`` is their number.

    The weights become views of the stack's, so that a change of one is a change of the other; gradients are
    the stack's alone. Raises ValueError for a part without a batched form, and where weights differ in name,
    shape or type.

    >>> from danlu.nn import Linear
    >>> alone = [Linear(2, 3), Linear(2, 3)]
    >>> together, x = stack(alone), torch.randn(4, 2)
    >>> torch.equal(together(x), torch.cat([alone[0](x[:2]), alone[1](x[2:])]))
    True
    """
    if why := not_stackable(models[0]):
        raise ValueError(f"{why}; train these networks one by one")
    for model in models:
        if _outline(model) != _outline(models[0]):
            raise ValueError("the networks have other weights than the first; members have one graph")
    made = copy.deepcopy(models[0])
    made.members = len(models)  # type: ignore[assignment]
    own = [dict(model.named_parameters()) for model in models]  # tied weights once
    for name, parameter in made.named_parameters():
        parameter.data = torch.stack([weights[name].detach() for weights in own])
        parameter.grad = None
        for weights, member in zip(own, parameter.data.unbind(), strict=True):
            weights[name].data = member
    return made


def _outline(model: nn.Module) -> list[tuple[str, torch.Size, torch.dtype, bool]]:
    return [(name, p.shape, p.dtype, p.requires_grad) for name, p in model.named_parameters()]
