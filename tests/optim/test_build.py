"""From a specification to optimizers: every parameter once, decay where it is said, state in and out."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from danlu import optim, spec
from danlu.models import build as build_model
from danlu.objectives import loss_sum
from danlu.optim import AdamW, Muon, by_role

VOCABULARY, CONTEXT = 13, 8
MODELS = {
    "small": spec.Decoder(layers=2, width=16),
    "every-role": spec.Decoder(
        layers=1,
        width=16,
        tied=False,
        bias=True,
        embedding_norm=True,
        position=spec.Learned(),
        norm=spec.LayerNorm(bias=True),
        mixer=spec.Attention(qk_norm=spec.QKNorm(gain=True)),
        feed_forward=spec.GLU(),
    ),
}
OPTIMIZERS = {
    "adamw": spec.AdamW(lr=0.01, weight_decay=0.3),
    "adamw-spares-embeddings": spec.AdamW(lr=0.01, weight_decay=0.3, decay_embeddings=False),
    "muon": spec.Muon(lr=0.05, adamw_lr=0.01, weight_decay=0.2),
}
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())


def make(model, seed=0):
    torch.manual_seed(seed)
    return build_model(model, VOCABULARY, CONTEXT)


def settings_of(optimizers):
    """Every parameter's name → (its optimizer's class, its group)."""
    return {
        name: (type(optimizer), group)
        for optimizer in optimizers
        for group in optimizer.param_groups
        for name in group["names"]
    }


@each_model
@each_optimizer
def test_every_parameter_is_in_exactly_one_group(model, optimizer):
    network = make(model)
    optimizers = optim.build(optimizer, network)
    named = dict(network.named_parameters())
    found = [
        (name, p)
        for o in optimizers
        for group in o.param_groups
        for name, p in zip(group["names"], group["params"], strict=True)
    ]
    assert len(found) == len(named)
    assert all(named[name] is p for name, p in found)
    assert all(group["peak"] == group["lr"] for o in optimizers for group in o.param_groups)


@each_model
@each_optimizer
def test_frozen_parameters_are_left_out(model, optimizer):
    network = make(model)
    network.embedding.weight.requires_grad_(False)
    assert "embedding.weight" not in settings_of(optim.build(optimizer, network))


@pytest.mark.parametrize("spared", [False, True])
def test_adamw_decays_what_it_says(spared):
    network = make(MODELS["every-role"])
    s = spec.AdamW(lr=0.01, beta1=0.6, beta2=0.7, eps=0.1, weight_decay=0.3, decay_embeddings=not spared)
    settings = settings_of(optim.build(s, network))
    for role, named in by_role(network).items():
        decayed = role in ("kernel", "readout") or (role == "embedding" and not spared)
        for name in named:
            cls, group = settings[name]
            assert cls is AdamW
            assert group["weight_decay"] == (0.3 if decayed else 0.0), name
            assert (group["lr"], group["betas"], group["eps"]) == (0.01, (0.6, 0.7), 0.1)


def test_muon_has_the_matrices_of_the_blocks_alone():
    network = make(MODELS["every-role"])
    s = spec.Muon(
        lr=0.05, momentum=0.8, weight_decay=0.2, steps=3, adamw_lr=0.01, beta1=0.6, beta2=0.7, eps=0.1
    )
    settings = settings_of(optim.build(s, network))
    for name, p in network.named_parameters():
        cls, group = settings[name]
        if name.startswith("blocks.") and p.ndim == 2:
            assert cls is Muon, name
            expected = {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.2, "steps": 3}
        else:
            assert cls is AdamW, name
            expected = {"lr": 0.01, "betas": (0.6, 0.7), "eps": 0.1, "weight_decay": 0.0}
        assert {key: group[key] for key in expected} == expected


def test_roles_by_name():
    roles = {role: set(named) for role, named in by_role(make(MODELS["every-role"])).items()}
    assert roles["embedding"] == {"embedding.weight", "position.weight"}
    assert roles["readout"] == {"readout.weight"}
    assert {"norm.gain", "embedding_norm.gain", "blocks.0.mixer.q_norm.gain"} <= roles["gain"]
    assert {"norm.bias", "blocks.0.mixer.qkv.bias", "blocks.0.mixer_norm.bias"} <= roles["bias"]
    matrices = {"mixer.qkv", "mixer.out", "feed_forward.gate", "feed_forward.up", "feed_forward.down"}
    assert roles["kernel"] == {f"blocks.0.{name}.weight" for name in matrices}


def train(network, optimizers, steps):
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        tokens = torch.randint(VOCABULARY, (4, CONTEXT), generator=generator)
        loss_sum(network, tokens, tokens.roll(1)).backward()
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] / (1 + step)
            optimizer.step()
            optimizer.zero_grad()


@each_model
@each_optimizer
@pytest.mark.parametrize("prepared", [False, True])
def test_continuing_is_never_having_stopped(model, optimizer, prepared):
    """Bit for bit, through a copy of the weights and the flat mapping of the state."""
    whole = make(model)
    train(whole, optim.build(optimizer, whole), range(6))

    first = make(model)
    optimizers = optim.build(optimizer, first)
    train(first, optimizers, range(3))
    weights = {name: t.clone() for name, t in first.state_dict().items()}
    state = {path: t.clone() for path, t in optim.state_tensors(optimizers).items()}

    second = make(model, seed=1)
    second.load_state_dict(weights)
    optimizers = optim.build(optimizer, second)
    if prepared:  # as a checkpoint is read: into state that is there already
        for each in optimizers:
            each.prepare()
        assert {path: t.shape for path, t in optim.state_tensors(optimizers).items()} == {
            path: t.shape for path, t in state.items()
        }
    optim.load_state_tensors(optimizers, state)
    train(second, optimizers, range(3, 6))
    for (name, expected), got in zip(whole.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(got, expected), name


@each_optimizer
def test_state_is_named_by_parameter(optimizer):
    network = make(MODELS["small"])
    optimizers = optim.build(optimizer, network)
    assert optim.state_tensors(optimizers) == {}
    train(network, optimizers, range(1))
    names = {path.rsplit("/", 1)[0] for path in optim.state_tensors(optimizers)}
    assert names == {name for name, _ in network.named_parameters()}


@each_optimizer
def test_pytorchs_own_state_dict_works(optimizer):
    network = make(MODELS["small"])
    optimizers = optim.build(optimizer, network)
    train(network, optimizers, range(2))
    again = optim.build(optimizer, network)
    for one, other in zip(optimizers, again, strict=True):
        other.load_state_dict(one.state_dict())
    before, after = (optim.state_tensors(o) for o in (optimizers, again))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[path], after[path]) for path in before)


def test_the_first_steps_do_not_load_the_compiler():
    """PyTorch's own optimizers import it, two seconds, when they take parameters and clear gradients."""
    program = """
import sys, torch
from danlu.optim import AdamW, Muon
p = torch.nn.Parameter(torch.ones(4, 4))
for cls in (AdamW, Muon):
    optimizer = cls([p])
    optimizer.zero_grad()
    p.grad = torch.ones(4, 4)
    optimizer.step()
assert (p < 1).all()
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
