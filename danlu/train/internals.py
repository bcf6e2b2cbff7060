"""What goes on inside a network while it trains, by block and part: what ``train.internals_every`` writes.

It is observation alone. Activations and scores are those of a pass of its own over the update's first rows,
in evaluation mode and without gradients, so that what trains is not touched: a run that is looked at is, bit
for bit, the run that is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn as nn

from danlu.inspection.watching import Values, activations
from danlu.inspection.weighing import by_part
from danlu.optim.base import local
from danlu.train.parallel import Processes


class Look:
    """What is seen of one update, in ``values`` after ``activations``, ``before`` and ``after``:

    ``gradient/PART`` and ``update/PART``, and what ``danlu.inspection.watching.activations`` finds quickly,
    by block and of the output. ``danlu.inspection.table`` says what each is.
    """

    @classmethod
    def due(cls, every: int | None, step: int, model: nn.Module, group: Processes) -> Look | None:
        """One at every ``every``-th update, and at the first; None at others, and in processes that see
        nothing that the first does not see."""
        if every is None or not (step % every == 0 or step == 1):
            return None
        look = cls(model, group)
        return look if group.first or look._sharded else None

    def __init__(self, model: nn.Module, group: Processes) -> None:
        self.model, self.group = model, group
        self.values: Values = {}
        self._parts = by_part(model)
        self._sharded = any(hasattr(p, "full_tensor") for p in model.parameters())
        self._before: dict[str, list[torch.Tensor]] = {}

    def activations(self, forward: Callable[[], Any], *, logits: bool) -> None:
        """What happens in ``forward()``, a pass through the model, which may give ``logits``."""
        self.values |= activations(self.model, forward, logits=logits)

    def before(self, scale: float = 1.0) -> None:
        """Before the update: the gradients, of a loss multiplied by ``scale``; and a copy of the weights."""
        there = {name: [p.grad for p in ps if p.grad is not None] for name, ps in self._parts.items()}
        norms = self._norms({name: grads for name, grads in there.items() if grads})
        self.values |= {f"gradient/{name}": norm / scale for name, norm in norms.items()}
        self._before = {name: [local(p).clone() for p in ps] for name, ps in self._parts.items()}

    def after(self) -> Values:
        """After the update: what it changed. Lets go of the copy; returns all values, to six digits."""
        sizes = self._norms(self._before)
        changes = {
            name: [local(p).float() - old.float() for p, old in zip(self._parts[name], olds, strict=True)]
            for name, olds in self._before.items()
        }
        for name, change in self._norms(changes).items():
            still = 0.0 if change == 0 else math.inf  # of a part that was all zeros
            self.values[f"update/{name}"] = change / sizes[name] if sizes[name] else still
        self._before = {}
        return {key: float(f"{value:.6g}") for key, value in self.values.items()}

    @torch.no_grad()
    def _norms(self, tensors: dict[str, list[Any]]) -> Values:
        """The norm of the tensors of each part together, over all processes where they are sharded."""
        if not tensors:
            return {}
        norms = [torch.stack(torch._foreach_norm([local(t).float() for t in ts])) for ts in tensors.values()]
        squares = torch.stack([norm.square().sum() for norm in norms])
        squares = self.group.sum_of_shards(squares) if self._sharded else squares
        return dict(zip(tensors, squares.sqrt().tolist(), strict=True))
