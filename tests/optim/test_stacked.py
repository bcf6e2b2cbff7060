"""Rules of members as one: each member's step is that of its own rule, and who waits stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn as nn

from danlu.optim import SGD, Adam, AdamW, Lion, Muon
from danlu.optim.base import Rule
from danlu.optim.rules.muon import orthogonalise
from danlu.optim.stacked import StackedRules

SHAPES = {"tall": (12, 4), "wide": (4, 12), "square": (6, 6), "gain": (5,)}
RULES: list[tuple[type[Rule], list[dict[str, Any]]]] = [
    (SGD, [{"momentum": 0.9, "weight_decay": 0.1}, {"momentum": 0.0, "weight_decay": 0.0}]),
    (SGD, [{"nesterov": True, "momentum": 0.5}, {"nesterov": True}]),
    (Adam, [{"weight_decay": 0.1, "eps": 1e-4}, {"betas": (0.5, 0.99)}]),
    (AdamW, [{"weight_decay": 0.0}, {"betas": (0.5, 0.99), "eps": 1e-3}]),
    (Lion, [{"weight_decay": 0.0}, {"betas": (0.5, 0.99)}]),
    (Lion, [{"lazy_rows": True}, {"lazy_rows": True, "weight_decay": 1.0}]),
    (Muon, [{"weight_decay": 0.1}, {"momentum": 0.5}]),
    (Muon, [{"scale": "rms"}, {"scale": "rms", "weight_decay": 0.1}]),
    (Muon, [{"steps": 3}, {"steps": 5}]),  # no numbers of one graph: they step one by one
]


def rule_of(kind: type[Rule], settings: dict[str, Any], lr: float, weights: dict[str, nn.Parameter]) -> Rule:
    return kind([{"params": list(weights.values()), "names": list(weights)}], lr=lr, **settings)  # type: ignore[call-arg]


@pytest.mark.parametrize(("kind", "settings"), RULES, ids=lambda value: getattr(value, "__name__", None))
def test_members_step_as_alone(
    monkeypatch: pytest.MonkeyPatch, kind: type[Rule], settings: list[dict[str, Any]]
) -> None:
    """Five steps in float64, of which the second member leaves out the third; its gradient is NaN there."""
    monkeypatch.setattr(orthogonalise, "__defaults__", (5, torch.float64))
    shapes = {name: shape for name, shape in SHAPES.items() if kind is not Muon or len(shape) == 2}
    start = {name: torch.randn(2, *shape, dtype=torch.float64) for name, shape in shapes.items()}
    stacked = {name: p.clone() for name, p in start.items()}
    alone, members = (
        [{name: nn.Parameter(p[k]) for name, p in of.items()} for k in range(2)]
        for of in ({name: p.clone() for name, p in start.items()}, stacked)
    )
    for k, own in enumerate(members):
        for name, p in own.items():
            p.data = stacked[name][k]
    rules = [rule_of(kind, s, 0.01 * (k + 1), alone[k]) for k, s in enumerate(settings)]
    together = StackedRules(
        [[rule_of(kind, s, 0.01 * (k + 1), members[k])] for k, s in enumerate(settings)], stacked
    )
    for step in range(5):
        going = [True, step != 2]
        grads = {name: torch.randn_like(p) for name, p in stacked.items()}
        for grad in grads.values():
            grad[:, -1] = 0.0  # rows that no token touched
            grad[1] *= 1.0 if going[1] else float("nan")
        for k, rule in enumerate(rules):
            for name in shapes:
                alone[k][name].grad = members[k][name].grad = grads[name][k].clone()
            if going[k]:
                rule.step()
        together.step(grads, going)
    for k, rule in enumerate(rules):
        for name in shapes:
            assert torch.allclose(alone[k][name], stacked[name][k], rtol=1e-13, atol=1e-13), name
            assert stacked[name][k].data_ptr() == members[k][name].data_ptr()
            own = (together.groups[0].rules if together.groups else [r[0] for r in together.alone])[k]
            kept = own.state[members[k][name]]
            for key, value in rule.state[alone[k][name]].items():
                assert torch.allclose(value, kept[key], rtol=1e-13, atol=1e-13), (name, key)


def test_a_subclass_steps_in_its_own_way() -> None:
    """A class must say itself that it has a batched form, since it may step otherwise than its base."""

    class Mine(AdamW):
        pass

    weights = {"w": nn.Parameter(torch.zeros(3))}
    together = StackedRules([[rule_of(Mine, {}, 0.1, weights)]], {"w": torch.zeros(1, 3)})
    assert not together.groups and [len(rules) for rules in together.alone] == [1]
