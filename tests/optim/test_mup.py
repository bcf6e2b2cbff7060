"""muP's half that is in the groups: against the package of its authors, and by the spectral condition."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st

from danlu import optim, spec
from danlu.models import build as build_model
from danlu.optim.build import assign
from danlu.optim.mup import POWERS, scaled
from danlu.optim.roles import Named

FOR_NETWORKS = [kind for kind in get_args(get_args(spec.Optimizer)[0]) if not issubclass(kind, spec.Solver)]
ROLES = ("embedding", "readout", "kernel", "gain", "bias")


def network(width=64, base=16, **more):
    """Everything grows with the width; each role is there."""
    settings = {
        "bias": True,
        "tied": False,
        "readout_bias": True,
        "position": spec.Learned(),
        "norm": spec.LayerNorm(bias=True),
        "mixer": spec.Attention(heads=2, qk_norm=spec.QKNorm(gain=True)),
    }
    return spec.Decoder(layers=1, width=width, base_width=base, **settings | more)


def on_meta(s):
    with torch.device("meta"):
        return build_model(s, 13, 8)


def settings_of(s, model):
    return {p.name: settings for p, _, settings in assign(s, model)}


def of_groups(optimizer, model):
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd"])
def test_agrees_with_the_package_of_the_authors(kind, tied):
    """Rates and decays of every parameter. Adam's L2 decay is left out: mup multiplies it by m, which keeps
    lr·λ as for AdamW, though λ is not multiplied by the rate there."""
    mup = pytest.importorskip("mup")
    decay = 0.0 if kind == "adam" else 0.5
    ours, its = {
        "adamw": (spec.AdamW, mup.MuAdamW),
        "adam": (spec.Adam, mup.MuAdam),
        "sgd": (spec.SGD, mup.MuSGD),
    }[kind]
    models = [build_model(network(width, tied=tied), 13, 8) for width in (64, 16, 32)]
    model = mup.set_base_shapes(*models[:2], delta=models[2], do_assert=False)
    theirs = of_groups(its(model.parameters(), lr=0.25, weight_decay=decay), model)
    everything = tuple(spec.Group(role=role, weight_decay=decay) for role in ROLES)
    found = settings_of(ours(lr=0.25, weight_decay=decay, groups=everything), model)
    assert {name: (s["lr"], s["weight_decay"]) for name, s in found.items()} == theirs


@pytest.mark.parametrize("kind", FOR_NETWORKS, ids=lambda kind: kind.model_fields["kind"].default)
def test_at_the_base_settings_are_those_said(kind):
    s = kind(lr=0.25)
    assert settings_of(s, on_meta(network(16))) == settings_of(s, on_meta(network(16, base=None)))


@pytest.mark.parametrize(
    ("s", "kernel"),
    [
        (spec.AdamW(lr=0.5, weight_decay=0.25), {"lr": 0.125, "weight_decay": 1.0}),
        (spec.Lion(lr=0.5, weight_decay=0.25), {"lr": 0.125, "weight_decay": 1.0}),
        (spec.SOAP(lr=0.5, weight_decay=0.25), {"lr": 0.125, "weight_decay": 1.0}),
        (spec.Adafactor(lr=0.5, weight_decay=0.25), {"lr": 0.25, "weight_decay": 0.5, "floor": 5e-4}),
        (spec.Amos(lr=0.5), {"lr": 0.25}),
        (spec.Muon(lr=0.5, weight_decay=0.25), {"lr": 0.5, "weight_decay": 0.25}),
        (spec.Muon(lr=0.5, weight_decay=0.25, scale="rms"), {"lr": 0.25, "weight_decay": 0.5}),
    ],
    ids=lambda s: s.kind + getattr(s, "scale", "") if isinstance(s, spec.Rule) else "",
)
def test_four_times_the_width(s, kernel):
    """Hidden kernels as their rule scales; all that these rules have else stays."""
    base, wide = (settings_of(s, on_meta(network(width))) for width in (16, 64))
    for name, settings in wide.items():
        hidden = name.startswith("blocks.") and name.endswith(".weight")
        assert settings == base[name] | (kernel if hidden else {}), name


@pytest.mark.parametrize("scaling", ["steps", "relative", "spectral", "rms"])
@pytest.mark.parametrize("growth", [4, 16])
def test_spectral_norms_don_t_grow(scaling, growth):
    """What POWERS follow from (Yang, Simon & Bernstein 2023): the update of a hidden matrix whose entries are
    ∝ 1/√width keeps its spectral norm."""
    norms = []
    for multiplier in (1, growth):
        width = 16 * multiplier
        p = Named("blocks.0.mixer.out.weight", "kernel", torch.ones(width, width))
        lr = scaled({"lr": 0.5}, scaling, p, multiplier)["lr"]
        update = {
            "steps": lr * torch.ones(width, width),  # signs of a gradient of rank one
            "relative": lr * width**-0.5 * torch.ones(width, width),
            "spectral": lr * torch.eye(width),
            "rms": lr * 0.2 * math.sqrt(width) * torch.eye(width),
        }[scaling]
        norms.append(torch.linalg.matrix_norm(update.double(), 2).item())
    assert norms[0] == pytest.approx(norms[1], rel=1e-6)


@given(
    scaling=st.sampled_from(list(POWERS)),
    role=st.sampled_from(ROLES),
    one=st.floats(0.125, 64),
    other=st.floats(0.125, 64),
)
def test_twice_wider_and_thrice_is_six_times(scaling, role, one, other):
    p = Named("blocks.0.x", role, torch.ones(4, 4))
    settings = {"lr": 0.5, "weight_decay": 0.25, "floor": None, "betas": (0.5, 0.75)}
    whole = scaled(settings, scaling, p, one * other)
    steps = scaled(scaled(settings, scaling, p, one), scaling, p, other)
    assert steps.keys() == whole.keys() == settings.keys()
    for key in ("lr", "weight_decay"):
        assert steps[key] == pytest.approx(whole[key], rel=1e-12)
    assert (whole["floor"], whole["betas"]) == (None, (0.5, 0.75))


def test_nothing_hangs_on_tensors():
    """The package mup keeps shapes as attributes of tensors, which compiling and sharding lose."""
    model = build_model(network(), 13, 8)
    optim.build(spec.AdamW(), model)
    assert not any(vars(p) for p in model.parameters())


def test_sharded_and_compiled_models_get_the_same():
    from torch.distributed.fsdp import fully_shard

    model = build_model(network(), 13, 8)
    expected = settings_of(spec.AdamW(), model)
    for block in model.blocks:
        block.compile(backend="eager")
    assert settings_of(spec.AdamW(), model) == expected
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        for block in model.blocks:
            fully_shard(block)
        fully_shard(model)
        assert all(hasattr(p, "full_tensor") for p in model.parameters())
        assert settings_of(spec.AdamW(), model) == expected
        model(torch.randint(13, (2, 8))).sum().backward()
        for optimizer in optim.build(spec.AdamW(), model):
            optimizer.step()
    finally:
        dist.destroy_process_group()
