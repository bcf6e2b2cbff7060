"""K networks of one graph, its members, as one network.

Every weight has the members in a first dimension more, (K, …), and activations hold the rows of all members
one after another, (K·rows, …). What acts on rows (attention and its kernels, activations, sums) needs not
know; so only a part that holds weights says that it has a batched form, by ``stackable = True``. It sees in
the shape of a weight whether it is of members, and meets the rows with it by ``beside``.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.nn as nn

M = TypeVar("M", bound=nn.Module)

# Attributes of modules that see more than a row, or draw numbers of their own (``danlu.nn.auxiliary``).
_TOLD = ("auxiliary", "row_keys", "row_weights", "told")


def beside(weight: torch.Tensor, x: torch.Tensor, dims: int) -> torch.Tensor:
    """A weight of ``dims`` dimensions as it meets ``x`` (rows, …), in the type of ``x``: as it is, or, of
    members, (K, …), that of each row's own member, broadcast over what lies between: (rows, 1 …, …)."""
    weight = weight.to(x.dtype)
    if weight.ndim == dims:
        return weight
    members, rows = weight.shape[0], x.shape[0]
    each = weight[:, None].expand(-1, rows // members, *weight.shape[1:]).flatten(0, 1)
    return each.view(rows, *[1] * (x.ndim - 1 - dims), *weight.shape[1:])


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """``F.linear`` of members: ``x`` (K·rows, …, in), ``weight`` (K, out, in), ``bias`` (K, out) → (K·rows,
    …, out), all of one type."""
    rows = x.reshape(len(weight), -1, x.shape[-1])
    y = torch.bmm(rows, weight.mT) if bias is None else torch.baddbmm(bias[:, None], rows, weight.mT)
    return y.view(*x.shape[:-1], -1)


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
