"""Groups: exceptions by role and name, patterns that match nothing, who gets which rule."""

from __future__ import annotations

import inspect
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from danlu import optim, spec
from danlu.models import build as build_model
from danlu.optim.build import assign
from danlu.optim.groups import check
from danlu.optim.roles import named, over_layers
from danlu.spec.errors import SpecError
from danlu.spec.optim import Group, Role

KINDS = [kind for kind in get_args(get_args(spec.Optimizer)[0]) if not issubclass(kind, spec.Solver)]
NETWORK = spec.Decoder(
    layers=2,
    width=16,
    tied=False,
    bias=True,
    readout_bias=True,
    position=spec.Learned(),
    norm=spec.LayerNorm(bias=True),
    mixer=spec.Attention(qk_norm=spec.QKNorm(gain=True), gate=spec.HeadGate(hidden=2)),
)
with torch.device("meta"):
    MODEL = build_model(NETWORK, 13, 8)
NAMES = [name for name, _ in MODEL.named_parameters()]
PATTERNS = {
    "*": lambda name: True,
    "*.weight": lambda name: name.endswith(".weight"),
    "blocks.1.*": lambda name: name.startswith("blocks.1."),
    "blocks.?.mixer.qkv.weight": lambda name: (
        name.startswith("blocks.") and name.endswith(".mixer.qkv.weight")
    ),
    "norm.gain": lambda name: name == "norm.gain",
    "*norm*": lambda name: "norm" in name,
}

groups = st.lists(
    st.builds(
        Group,
        role=st.none() | st.sampled_from(get_args(Role)),
        names=st.sampled_from(list(PATTERNS)),
        rate=st.sampled_from([0.0, 0.25, 1.0, 2.0]),
        weight_decay=st.none() | st.sampled_from([0.0, 0.5]),
    ),
    max_size=4,
)


def of(s, model=MODEL, **more):
    return {p.name: (p, rule, settings) for p, rule, settings in assign(s, model, **more)}


def with_rate(kind, **settings):
    return kind(**{"lr": 0.25, **settings})


@given(groups)
def test_rates_multiply_and_the_last_decay_counts(exceptional):
    plain = of(spec.AdamW(lr=0.5))
    try:
        changed = of(spec.AdamW(lr=0.5, groups=tuple(exceptional)))
    except SpecError:  # a role and a pattern that have nothing in common
        return
    assert changed.keys() == plain.keys() == set(NAMES)
    for name, (p, _, settings) in changed.items():
        rate, decay = 0.5, plain[name][2]["weight_decay"]
        for group in exceptional:
            if PATTERNS[group.names](name) and group.role in (None, p.role):
                rate *= group.rate
                decay = decay if group.weight_decay is None else group.weight_decay
        assert (settings["lr"], settings["weight_decay"]) == (rate, decay), name


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.model_fields["kind"].default)
def test_groups_are_those_that_differ(kind):
    """Every parameter once; equal settings, one group."""
    s = with_rate(kind, groups=(Group(names="blocks.0.*", rate=0.5),))
    optimizers = optim.build(s, MODEL)
    assert len({type(o) for o in optimizers}) == len(optimizers)
    found = [name for o in optimizers for group in o.param_groups for name in group["names"]]
    assert sorted(found) == sorted(NAMES)
    own = {"params", "names"}
    for o in optimizers:
        settings = [repr({k: v for k, v in g.items() if k not in own}) for g in o.param_groups]
        assert len(set(settings)) == len(settings)
        assert all(group["peak"] == group["lr"] for group in o.param_groups)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.model_fields["kind"].default)
def test_settings_are_the_rules_keyword_arguments(kind):
    """So that none is misspelt: a group of PyTorch's takes any key."""
    for _, rule, settings in of(with_rate(kind)).values():
        known = set(inspect.signature(rule).parameters)
        known |= set(rule([torch.nn.Parameter(torch.zeros(2, 2))], lr=0.1).param_groups[0])
        assert set(settings) <= known, rule


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.model_fields["kind"].default)
def test_a_rate_of_zero_freezes(kind):
    torch.manual_seed(0)
    model = build_model(NETWORK, 13, 8)
    frozen = ("embedding.weight", "blocks.1.mixer.qkv.weight", "norm.gain")
    s = with_rate(kind, groups=tuple(Group(names=name, rate=0.0) for name in frozen))
    optimizers = optim.build(s, model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for _ in range(2):
        model(torch.randint(13, (2, 8))).square().sum().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    for name, p in model.named_parameters():
        if name in frozen:
            assert torch.equal(p, before[name]), name
    assert not torch.equal(model.blocks[0].mixer.qkv.weight, before["blocks.0.mixer.qkv.weight"])


def test_muon_has_block_matrices_and_nothing_else():
    network = spec.Encoder(layers=1, width=16, transform="gelu", embedding_width=8, segments=2, bias=True)
    with torch.device("meta"):
        model = build_model(network, 13, 8)
    for name, (p, rule, settings) in of(spec.Muon(lr=0.5, adamw_lr=0.25), model).items():
        matrix = name.startswith("blocks.") and p.parameter.ndim == 2
        assert (rule, settings["lr"]) == ((optim.Muon, 0.5) if matrix else (optim.AdamW, 0.25)), name


def test_embeddings_by_another_rule():
    adamw = spec.AdamW(lr=0.125, beta2=0.75, weight_decay=0.5)
    s = spec.Lion(lr=0.25, embeddings=adamw, groups=(Group(role="embedding", rate=0.5),))
    embeddings = {"embedding.weight", "position.weight"}
    for name, (_, rule, settings) in of(s).items():
        assert rule is (optim.AdamW if name in embeddings else optim.Lion), name
        if name in embeddings:
            expected = {"lr": 0.0625, "betas": (0.9, 0.75), "eps": 1e-8, "weight_decay": 0.5}
            assert settings == expected
    with pytest.raises(ValidationError, match="groups and state are the optimizer's"):
        spec.Lion(embeddings=spec.AdamW(state="bfloat16"))


def test_the_bias_of_the_readout_is_a_bias():
    settings = of(spec.AdamW(weight_decay=0.5))
    assert settings["readout.bias"][0].role == "bias"
    assert settings["readout.bias"][2]["weight_decay"] == 0
    assert settings["readout.weight"][2]["weight_decay"] == 0.5


@pytest.mark.parametrize(
    ("group", "said"),
    [
        (Group(names="*.mixer.qvk.weight"), ["names = *.mixer.qvk.weight", "blocks.*.mixer.qkv.weight"]),
        (Group(names="embeddings.weight"), ["names = embeddings.weight", "embedding.weight"]),
        (Group(names="norm.gain", role="kernel"), ["with role = kernel", "that name have the role gain"]),
    ],
)  # fmt: skip
def test_a_pattern_that_matches_nothing(group, said):
    with pytest.raises(SpecError) as caught:
        check([Group(role="bias"), group], named(MODEL))
    sentence = str(caught.value)
    assert sentence.startswith("optimizer.groups.1: ") and all(words in sentence for words in said), sentence


def test_a_role_that_the_model_has_not_is_no_mistake():
    with torch.device("meta"):
        model = build_model(spec.Decoder(layers=1, width=16, tied=True), 13, 8)
    s = spec.AdamW(groups=(Group(role="bias", rate=2.0),))
    assert of(s, model).keys() == {name for name, _ in model.named_parameters()}
    assert {settings["lr"] for _, _, settings in of(s, model).values()} == {s.lr}


def test_a_group_must_name_something():
    with pytest.raises(ValidationError, match="needs a role or names"):
        Group(rate=0.5)


def test_a_decay_where_there_is_none():
    with pytest.raises(SpecError, match=r"amos has no weight_decay that norm.gain could have"):
        of(spec.Amos(lr=0.1, groups=(Group(names="norm.gain", weight_decay=0.1),)))


def test_a_rate_from_the_updates():
    assert of(spec.Amos(), updates=16)["norm.gain"][2]["lr"] == 0.25
    with pytest.raises(SpecError, match=r"set optimizer.lr, or train.steps"):
        of(spec.Amos())


def test_names_over_layers():
    assert over_layers("blocks.11.mixer.qkv.weight") == "blocks.*.mixer.qkv.weight"
    assert over_layers("encoder.blocks.0.mixer.out.bias") == "encoder.blocks.*.mixer.out.bias"
    assert over_layers("embedding.weight") == "embedding.weight"
