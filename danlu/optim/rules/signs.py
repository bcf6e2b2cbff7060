"""What the rules that follow a sign share: no NaN goes unseen, rows without gradient may rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from danlu.optim.base import Elementwise, calculate, local


class Signed(Elementwise):
    """A sign hides what it is the sign of: NaN and infinity would leave weights finite and a momentum that is
    lost for good. So each gradient is looked at before anything is done with it (one reading of it), and a
    tensor whose gradient is not finite is left out of the step, by ``spare``, and counted in ``skipped``.

    On a CPU the outcome decides what is called; elsewhere nothing waits for it: each tensor has a mask of one
    number, or of one a row where ``lazy_rows`` is asked for.
    """

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

    def masked(self, settings: dict[str, Any], mask: Tensor, p: Tensor, g: Tensor, *moments: Tensor) -> None:
        """The formula for one tensor where ``mask``, which broadcasts, is 1; where it is 0 nothing changes,
        whatever is in the gradient there."""
        raise NotImplementedError

    def spare(self, group: dict[str, Any], p: Tensor, bad: Tensor | None = None) -> None:
        """What happens to a parameter whose gradient is not finite; ``bad``: whether, if it is unknown."""

    def update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        finite = all_finite([p.grad for p in params if p.grad is not None])
        if params[0].device.type == "cpu":
            good = []
            for p, fine in zip(params, finite.tolist(), strict=True):
                if fine:
                    good.append(p)
                else:
                    self.state[p]["skipped"].add_(1)
                    self.spare(group, p)
            lazy = [p for p in good if group["lazy_rows"] and p.ndim == 2]
            known = {id(p) for p in lazy}
            self.sweep(group, [p for p in good if id(p) not in known])
            for p in lazy:
                self.sweep_masked(group, p, None)
        else:
            for p, fine in zip(params, finite.unbind(), strict=True):
                self.state[p]["skipped"].add_(~fine)
                self.sweep_masked(group, p, fine)
                self.spare(group, p, ~fine)

    def sweep_masked(self, group: dict[str, Any], p: Tensor, fine: Tensor | None) -> None:
        """Take one parameter through ``masked``."""
        columns = [column[0] for column in self.columns([p])]
        mask = torch.ones((), dtype=torch.bool, device=p.device) if fine is None else fine
        if group["lazy_rows"] and p.ndim == 2:
            mask = mask & (columns[1] != 0).any(1, keepdim=True)

        def formula(settings: dict[str, Any], *columns: list[Tensor]) -> None:
            (row,) = zip(*columns, strict=True)
            self.masked(settings, mask, *row)

        calculate(formula, group, [[t] for t in columns])


def all_finite(gradients: list[Tensor]) -> Tensor:
    """(n,), bool: whether each is free of NaN and infinity, by its sum, which neither leaves finite. (A sum
    beyond the range of its dtype counts as infinite too.) Sharded ones are judged whole."""
    sums = torch.stack([local(g).sum(dtype=_sum_dtype(g)) for g in gradients])
    mesh = getattr(gradients[0], "device_mesh", None)
    if mesh is not None:
        from torch.distributed.tensor import DTensor, Partial

        sums = DTensor.from_local(sums, mesh, [Partial()] * mesh.ndim).full_tensor()
    return sums.isfinite()


def _sum_dtype(g: Tensor) -> torch.dtype:
    return torch.promote_types(g.dtype, torch.float32)
