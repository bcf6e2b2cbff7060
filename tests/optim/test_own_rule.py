"""A rule of one's own: the contract of ``danlu.optim.Rule``, through the registry."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from danlu import optim, spec
from danlu.models import build as build_model
from danlu.nn.registry import builds
from danlu.optim.base import local
from danlu.optim.build import assign
from danlu.spec.errors import SpecError


class HeavyBallSpec(spec.Rule):
    kind: Literal["heavy-ball"] = "heavy-ball"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0


@builds(HeavyBallSpec)
class HeavyBall(optim.Rule):
    """The example of the contract: v ← μv + ηg; θ ← (1 − ηλ)θ − v."""

    def __init__(self, params, lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def new_state(self, p):
        return {"velocity": self.zeros(p)}

    def update(self, group, params):
        for p in params:
            velocity, weight = local(self.state[p]["velocity"]), local(p)
            velocity.mul_(group["momentum"]).add_(local(p.grad), alpha=group["lr"])
            weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(velocity)


def network(**more):
    torch.manual_seed(0)
    return build_model(spec.Decoder(layers=1, width=16, bias=True, **more), 13, 8)


def test_settings_are_the_fields_of_the_specification():
    s = HeavyBallSpec(
        lr=0.25, momentum=0.5, weight_decay=0.125, groups=(spec.Group(role="readout", rate=0.5),)
    )
    for p, rule, settings in assign(s, network(tied=False)):
        assert rule is HeavyBall
        rate = 0.125 if p.role == "readout" else 0.25
        decay = 0.0 if p.role in ("gain", "bias") else 0.125
        assert settings == {"lr": rate, "momentum": 0.5, "weight_decay": decay}, p.name


def test_steps_are_those_of_pytorchs_sgd():
    """At a constant rate the two forms of momentum are one: v = ηB. In float64, 5 steps to 1e-12."""
    ours, theirs = network().double(), network().double()
    pair = (
        (ours, HeavyBall(ours.parameters(), lr=1e-3, momentum=0.9)),
        (theirs, torch.optim.SGD(theirs.parameters(), lr=1e-3, momentum=0.9)),
    )
    for model, _ in pair:
        model.compute = torch.float64
    for _ in range(5):
        for model, optimizer in pair:
            optimizer.zero_grad()
            model(torch.arange(8)[None]).square().sum().backward()
            optimizer.step()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12, msg=name)


def test_its_state_goes_out_and_in():
    model = network()
    optimizers = optim.build(HeavyBallSpec(state="bfloat16"), model)
    model(torch.arange(8)[None]).square().sum().backward()
    optimizers[0].step()
    state = optim.state_tensors(optimizers)
    assert {path.rsplit("/", 1)[1] for path in state} == {"velocity"}
    assert {t.dtype for t in state.values()} == {torch.bfloat16}
    again = optim.build(HeavyBallSpec(state="bfloat16"), model)
    optim.load_state_tensors(again, state)
    found = optim.state_tensors(again)
    assert all(torch.equal(found[path], t) for path, t in state.items())


def test_a_width_that_the_rule_says_nothing_about():
    with pytest.raises(SpecError, match="class attribute `scaling`"):
        optim.build(HeavyBallSpec(), network(base_width=8))
    assert optim.build(HeavyBallSpec(), network(base_width=16))
