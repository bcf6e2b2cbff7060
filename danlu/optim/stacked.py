"""The update rules of networks of one graph, its members, as one.

Each member has rules of its own, whose groups its schedule sets. Where a rule has a batched form
(``Rule.advance``), it is applied to all members at once: parameters, gradients and moments have the members
in a first dimension, and rates, decays and betas are a number for each. Others step member by member.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from danlu.optim.base import Rule, precise


@dataclass
class _Group:
    """Weights that one group of each member's rules has: ``groups``, by member; ``names`` of the weights, and
    their state, (K, …) by its name, of which the members' is a view; ``steps`` that each member has made."""

    rules: list[Rule]
    groups: list[dict[str, Any]]
    names: list[str]
    state: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    steps: list[int] = field(default_factory=list)


class StackedRules:
    """The rules of members (``danlu.optim.build``'s of each, alike in their order) on ``weights``, (K, …) by
    name, of which the members' parameters are views."""

    def __init__(self, rules: Sequence[Sequence[Rule]], weights: Mapping[str, Tensor]) -> None:
        self.weights = weights
        self.groups: list[_Group] = []
        self.alone: list[list[Rule]] = [[] for _ in rules]  # by member: those that have no batched form
        for alike in zip(*rules, strict=True):
            found = _together(list(alike))
            if found is None:
                for own, rule in zip(self.alone, alike, strict=True):
                    own.append(rule)
            else:
                self.groups += found

    @torch.no_grad()
    def step(self, grads: Mapping[str, Tensor], going: Sequence[bool]) -> None:
        """One step of those members that are ``going``, by gradients (K, …); nothing of the others changes,
        whatever their gradients are. Who steps alone takes its own parameters' gradients."""
        for group in self.groups:
            names = [name for name in group.names if name in grads]
            if names:
                self._step(group, names, grads, going)
        for rules, goes in zip(self.alone, going, strict=True):
            for rule in rules if goes else ():
                rule.step()

    def _step(
        self, group: _Group, names: list[str], grads: Mapping[str, Tensor], going: Sequence[bool]
    ) -> None:
        for name in names:
            if name not in group.state:
                self._stack_state(group, name)
        group.steps = [step + goes for step, goes in zip(group.steps, going, strict=True)]
        first, rule = self.weights[names[0]], group.rules[0]
        wide, device = precise(first), first.device
        own = [
            r.coefficients({**g, "step": max(step, 1)})
            for r, g, step in zip(group.rules, group.groups, group.steps, strict=True)
        ]
        c = torch.tensor(own, dtype=wide).to(device, non_blocking=True).T
        rows = []
        for name in names:
            moments = [group.state[name][moment] for moment in rule.moments]
            rows.append(tuple(t.to(wide) for t in (self.weights[name].detach(), grads[name], *moments)))
        new = rule.advance(group.groups[0], list(c), rows)
        mask = None if all(going) else torch.tensor(going, device=device)
        for name, values in zip(names, new, strict=True):
            state = group.state[name]
            olds = [self.weights[name].detach(), *(state[moment] for moment in rule.moments)]
            for old, value in zip(olds, values, strict=True):
                old.copy_(value if mask is None else torch.where(along(mask, old), value, old))
            if "step" in state:
                state["step"] += 1 if mask is None else mask

    def _stack_state(self, group: _Group, name: str) -> None:
        """Let the state of a weight be the members' in one tensor, and theirs views of it."""
        own = []
        for rule, settings in zip(group.rules, group.groups, strict=True):
            p = settings["params"][settings["names"].index(name)]
            rule.give_state([p])
            own.append(rule.state[p])
        kept = [key for key in own[0] if key in (*group.rules[0].moments, "step")]
        group.state[name] = {key: torch.stack([state[key] for state in own]) for key in kept}
        for key, stacked in group.state[name].items():
            for state, each in zip(own, stacked.unbind(), strict=True):
                state[key] = each
        if not group.steps:
            steps = group.state[name].get("step")
            group.steps = [0] * len(own) if steps is None else [int(step) for step in steps.tolist()]


def along(numbers: Tensor, like: Tensor) -> Tensor:
    """(K,) numbers as they meet ``like``, (K, …)."""
    return numbers.view(-1, *[1] * (like.ndim - 1))


def _together(rules: list[Rule]) -> list[_Group] | None:
    """The groups of members' ``rules`` that are of one kind; None where that has no batched form, which a
    class must say itself (a subclass may step in another way), or what is no number differs."""
    kind = type(rules[0])
    if any(type(rule) is not kind for rule in rules) or not vars(kind).get("stackable", False):
        return None
    of = [{name: group for group in rule.param_groups for name in group["names"]} for rule in rules]
    found: dict[tuple[int, ...], _Group] = {}
    for name in of[0]:
        groups = [each[name] for each in of]
        if any(_fixed(group) != _fixed(groups[0]) for group in groups):
            return None
        found.setdefault(tuple(map(id, groups)), _Group(rules, groups, [])).names.append(name)
    return list(found.values())


def _fixed(group: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if isinstance(value, str | bool | int)}
