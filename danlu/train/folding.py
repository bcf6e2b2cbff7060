"""Gradients that go into the momentum as they are made, and are freed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from danlu import spec
from danlu.optim import Tiger
from danlu.optim.base import Rule

FOLDED = "Tiger accumulates it in its momentum"


class Folding:
    """Whether, and how, a run lets Tiger accumulate inside its momentum.

    It does where ``train.microbatch`` makes passes of a part of an update and nothing needs all gradients at
    once: no clipping (``train.clip`` 0), no loss scaling (float16), no other process, no other rule or type
    of weights. Then no gradient outlives its making, and what is not finite is left out tensor by tensor
    (see ``danlu.optim.Tiger``); ``row`` reports it.
    """

    def __init__(self, train: spec.Train, rules: Sequence[Rule], processes: int, precision: str) -> None:
        self.tigers = [rule for rule in rules if isinstance(rule, Tiger)]
        self.active = (
            train.microbatch is not None
            and not train.clip
            and processes == 1
            and precision != "float16"
            and train.weights == "float32"
            and len(self.tigers) == len(rules)
        )
        if self.active:
            for tiger in self.tigers:
                tiger.accumulate_in_backward()

    def begin(self, passes: int) -> int:
        """Before an update of so many passes. Returns what their losses are multiplied by: the momentum takes
        in the mean of the passes' gradients, while the losses are shares of a sum."""
        if not self.active:
            return 1
        for tiger in self.tigers:
            for group in tiger.param_groups:
                group["microsteps"] = passes
        return passes

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row of metrics without a norm of gradients, which nobody knows, and with ``skipped``: how often
        a tensor was left out so far."""
        if not self.active:
            return row
        row = {key: value for key, value in row.items() if key != "grad_norm"}
        return row | {"skipped": sum(n for tiger in self.tigers for n in tiger.skipped.values())}
