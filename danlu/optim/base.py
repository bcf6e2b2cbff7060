"""The base of our optimizers: torch's own, without a slow first call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer


class Rule(Optimizer):
    """An ordinary ``torch.optim.Optimizer``.

    PyTorch imports its compiler (about two seconds) the first time that an optimizer takes parameters or
    clears gradients, only to keep the compiler away from these two methods; here they are called as they
    are, so that a run that compiles nothing starts in half the time.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with settings of their own; see ``torch.optim.Optimizer.add_param_group``."""
        plain = getattr(Optimizer.add_param_group, "__wrapped__", Optimizer.add_param_group)
        plain(self, param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or set them to zero."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if set_to_none:
                    p.grad = None
                else:
                    p.grad.detach_().zero_()

    def new_state(self, p: torch.Tensor) -> dict[str, torch.Tensor]:
        """The state of a parameter that was never updated; each rule says its own."""
        return {}

    def update(self, group: dict[str, Any], params: list[torch.Tensor]) -> None:
        """Update the parameters of ``group`` that have a gradient; each has its state."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Update every parameter that has a gradient; the closure's loss, if one is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            self._give_state(params)
            if params:
                self.update(group, params)
        return loss

    def prepare(self) -> None:
        """Give every parameter its state now, so that a checkpoint can be read into it."""
        for group in self.param_groups:
            self._give_state(group["params"])

    def _give_state(self, params: list[torch.Tensor]) -> None:
        for p in params:
            if not self.state[p]:
                self.state[p] = self.new_state(p)
