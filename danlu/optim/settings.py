"""Rates, and other settings of optimizers, that follow a schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer

from danlu import spec
from danlu.optim.schedules import Progress, along, factor
from danlu.spec.errors import DanluError


class Settings:
    """Sets in the groups of ``optimizers``, before each update, what changes over a run: ``lr`` is the
    group's ``peak`` times the factor of ``schedule``, and the settings that ``vary`` names.

    A group whose setting is not that of the optimizer's specification ``s`` (a decay of its own, or none)
    keeps its proportion to it. It has no state: the values depend on the progress alone.

    Raises ``DanluError`` where no group has a setting.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        s: spec.Optimizer,
        schedule: spec.Schedule,
        vary: Sequence[spec.Vary] = (),
    ) -> None:
        self.groups: list[dict[str, Any]] = [group for o in optimizers for group in o.param_groups]
        self.schedule = schedule
        self.varied = [(v, float(getattr(s, v.setting)), self._having(v.setting)) for v in vary]

    def set(self, now: Progress) -> float:
        """Set everything for the update at ``now``; returns the rates' factor."""
        rate = factor(self.schedule, now)
        for group in self.groups:
            group["lr"] = group["peak"] * rate
        for v, own, groups in self.varied:
            start = own if v.start is None else v.start
            value = along(v.pieces, now, start) if v.pieces else start * rate
            for group, before in groups:
                _put(group, v.setting, value if before == own else before * value / own if own else before)
        return rate

    def _having(self, setting: str) -> list[tuple[dict[str, Any], float]]:
        """The groups that have a setting, with its value there."""
        found = [(group, value) for group in self.groups if (value := _get(group, setting)) is not None]
        if not found:
            raise DanluError(f"vary: no parameter is updated by a rule that has {setting}")
        return found


def _get(group: dict[str, Any], setting: str) -> float | None:
    if setting in _BETAS and "betas" in group:
        return float(group["betas"][_BETAS[setting]])
    return group.get(setting)


def _put(group: dict[str, Any], setting: str, value: float) -> None:
    if setting in _BETAS and "betas" in group:
        betas = list(group["betas"])
        betas[_BETAS[setting]] = value
        group["betas"] = tuple(betas)
    else:
        group[setting] = value


_BETAS = {"beta1": 0, "beta2": 1}  # which torch's own optimizers keep together
