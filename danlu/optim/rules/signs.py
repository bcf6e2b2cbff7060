"""What sign rules share: a check for NaN, which a sign would hide, and rows without gradient left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from danlu import spec
from danlu.optim.base import Choice, Elementwise, calculate, local, precise
from danlu.optim.pieces import batches
from danlu.optim.roles import Named


class Signed(Elementwise):
    """A sign is finite even where the momentum is NaN, so a NaN would spoil the momentum for good and nobody
    would notice. Therefore every gradient is checked before it is used (which reads it once more). A tensor
    whose gradient is not finite is left out of the step, by ``spare``, and counted in ``skipped``.

    On a CPU the outcome decides what is called; elsewhere nothing waits for it: each tensor has a mask of one
    number, or of one a row where ``lazy_rows`` is asked for, and all go through the formula together.
    """

    @classmethod
    def choose(cls, s: spec.Rule, p: Named) -> Choice:
        choice = super().choose(s, p)
        choice.settings["lazy_rows"] &= p.role == "embedding"  # only rows of tables may rest
        return choice

    def new_state(self, p: Tensor) -> dict[str, Tensor]:
        return {**super().new_state(p), "skipped": torch.zeros((), device=p.device)}

    @property
    def skipped(self) -> dict[str, int]:
        """How often a tensor was left out, by its name (or place, where groups have no ``names``)."""
        found, place = {}, 0
        for group in self.param_groups:
            names = group.get("names") or [str(place + i) for i in range(len(group["params"]))]
            place += len(group["params"])
            for name, p in zip(names, group["params"], strict=True):
                if p in self.state and (count := int(self.state[p]["skipped"])):
                    found[name] = count
        return found

    def masked(
        self, settings: dict[str, Any], masks: list[Tensor], params: list[Tensor], grads: list[Tensor],
        *moments: list[Tensor],
    ) -> None:  # fmt: skip
        """The formula where the mask of a tensor, which broadcasts, is true; elsewhere nothing changes,
        whatever the gradient is there."""
        raise NotImplementedError

    @staticmethod
    def looks(p: Tensor) -> bool:
        """Whether numbers are looked at: ``decides``."""
        return decides(p)

    def spare(self, group: dict[str, Any], params: list[Tensor], bad: Tensor | None = None) -> None:
        """What happens to parameters whose gradients are not finite; ``bad``, bool (n,): which are, if it is
        unknown."""

    def update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        # On a CPU some at a time, so that what was looked at is still in the cache when it is used.
        for some in batches(params):
            self._update(group, some)

    def _update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        finite = all_finite([p.grad for p in params if p.grad is not None])
        if not decides(params[0]):
            bad = ~finite
            torch._foreach_add_([self.state[p]["skipped"] for p in params], list(bad.float().unbind()))
            self.sweep_masked(group, params, finite)
            self.spare(group, params, bad)
            return
        dense = []
        for p, fine in zip(params, finite.tolist(), strict=True):
            if not fine:
                self.state[p]["skipped"].add_(1)
                self.spare(group, [p])
            elif group["lazy_rows"] and p.ndim == 2:
                self.sweep_masked(group, [p], torch.ones(1, dtype=torch.bool))
            else:
                dense.append(p)
        self.sweep(group, dense)

    def sweep_masked(self, group: dict[str, Any], params: list[Tensor], finite: Tensor) -> None:
        """Take parameters through ``masked``; ``finite``, bool (n,): whether their gradients are."""
        columns = self.columns(params)
        resting = [group["lazy_rows"] and g.ndim == 2 for g in columns[1]]
        rows = [i for i, rests in enumerate(resting) if rests]
        fine = finite.unbind()
        if rows:
            masks = [fine[i] & touched(columns[1][i]) for i in rows]

            def formula(settings: dict[str, Any], *columns: list[Tensor]) -> None:
                self.masked(settings, masks, *columns)

            calculate(formula, group, [[column[i] for i in rows] for column in columns])
        for some in alike_types(columns, [i for i, rests in enumerate(resting) if not rests]):
            here = [[column[i] for i in some] for column in columns]
            mask = for_each([fine[i] for i in some], here[0])

            def flat(settings: dict[str, Any], *columns: list[Tensor], mask: Tensor = mask) -> None:
                self.masked(settings, [mask], *columns)

            end_to_end(flat, group, here)


def alike_types(columns: list[list[Tensor]], places: Iterable[int]) -> list[list[int]]:
    """The places whose tensors have one type in each column, together."""
    found: dict[tuple[torch.dtype, ...], list[int]] = {}
    for i in places:
        found.setdefault(tuple(column[i].dtype for column in columns), []).append(i)
    return list(found.values())


def end_to_end(formula: Callable[..., None], settings: dict[str, Any], columns: list[list[Tensor]]) -> None:
    """``calculate`` with the tensors of each column, of one type, laid end to end as one: a few calls
    for all, where each of many would be a call of its own. Gradients, the second column, are only read."""
    whole = [[torch.cat([t.reshape(-1) for t in column])] for column in columns]
    calculate(formula, settings, whole)
    for number, (column, (made,)) in enumerate(zip(columns, whole, strict=True)):
        if number != 1:
            parts = made.split([t.numel() for t in column])
            torch._foreach_copy_(column, [part.view(t.shape) for part, t in zip(parts, column, strict=True)])


def for_each(values: Sequence[Tensor], tensors: list[Tensor]) -> Tensor:
    """A value of each tensor, scalars, for each number of the tensors laid end to end."""
    return torch.cat([value.expand(t.numel()) for value, t in zip(values, tensors, strict=True)])


def decides(p: Tensor) -> bool:
    """Whether Python may look at a number: on a CPU it is there, from a GPU one would have to wait for it."""
    return p.device.type == "cpu"


def touched(g: Tensor) -> Tensor:
    """(…, rows, 1), bool: the rows of a matrix's gradient that are not all zero."""
    return (g != 0).any(-1, keepdim=True)


def all_finite(gradients: list[Tensor]) -> Tensor:
    """(n,), bool: whether each is free of NaN and infinity, by its sum, which neither leaves finite. (A sum
    beyond the range of its dtype counts as infinite too.) Sharded ones are judged whole."""
    if decides(gradients[0]):
        sums = torch.stack([local(g).sum(dtype=precise(g)) for g in gradients])
    else:  # of sizes, in one call
        sums = norms(gradients, 1)
    return over_shards(sums, gradients[0]).isfinite()


def norms(tensors: list[Tensor], order: int) -> Tensor:
    """(n,): of this process's part of each."""
    if decides(tensors[0]):
        return torch.stack([torch.linalg.vector_norm(local(t), order, dtype=precise(t)) for t in tensors])
    wide = torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32
    return torch.stack(torch._foreach_norm([local(t) for t in tensors], order, dtype=wide))


def squares(tensors: list[Tensor], like: Tensor | None = None) -> Tensor:
    """(n,): the sum of squares of each, over all shards; of local tensors, sharded as ``like``."""
    return over_shards(norms(tensors, 2).square_(), tensors[0] if like is None else like)


def over_shards(sums: Tensor, like: Tensor) -> Tensor:
    """(n,) sums that each process has of its shards as sums over all, for tensors sharded as ``like`` is;
    replicas, which have the same numbers, count once."""
    mesh = getattr(like, "device_mesh", None)
    if mesh is None:
        return sums
    from torch.distributed.tensor import DTensor, Partial, Replicate

    assert isinstance(like, DTensor)
    shares = [Replicate() if place.is_replicate() else Partial() for place in like.placements]
    whole: Tensor = DTensor.from_local(sums, mesh, shares, run_check=False).full_tensor()
    return whole
