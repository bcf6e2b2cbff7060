"""A specification's fields are its class's keyword arguments, so that the two cannot drift apart."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, get_args, get_origin

import pytest
import torch

from danlu import spec
from danlu.models import Decoder
from danlu.nn import Attention, Learned, Rotary, build


def members(family: Any) -> list[type[spec.Spec]]:
    """The specifications in a union, or the one that a family has."""
    if get_origin(family) is Annotated:
        family = get_args(family)[0]
    return list(get_args(family)) or [family]


# Each family with what only its surroundings know: positional arguments, then keyword arguments.
FAMILIES: list[tuple[Any, tuple[Any, ...], set[str]]] = [
    (spec.Norm, (16,), set()),
    (spec.FiLM, (16,), set()),
    (spec.Residual, (16,), set()),
    (spec.FeedForward, (16,), {"bias"}),
    (spec.Mixer, (16, spec.Sinusoidal()), {"bias"}),
    (spec.Weights, (4,), set()),
    (spec.Gate, (16, 4, 4), set()),
    (spec.Scaling, (), set()),
]
AROUND = {"embedding": (16, 8), "heads": (16,), "scores": (4, 16)}  # of a position, by what it acts on
NOTHING = (spec.NoPosition, spec.Softmax)  # what is there without a part
PARTS = [
    (member, context, given)
    for family, context, given in FAMILIES
    for member in members(family)
    if member not in NOTHING
] + [(p, AROUND[p.acts_on], set()) for p in members(spec.Position) if p not in NOTHING]
UNIONS = [
    spec.Norm, spec.Position, spec.Scaling, spec.FeedForward, spec.Mixer, spec.Weights, spec.Gate,
    spec.Sparse, spec.Residual, spec.Model, spec.Optimizer, spec.Objective,
]  # fmt: skip


def keywords(cls: type) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(cls).parameters.values()
    return {p.name: p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize(("part", "context", "given"), PARTS, ids=lambda p: getattr(p, "__name__", ""))
def test_fields_are_keyword_arguments(part, context, given):
    built = build(part(), *context)
    arguments = keywords(type(built))
    assert set(arguments) - given == set(part.model_fields) - {"kind"}
    assert given <= set(arguments)
    positional = [
        p
        for p in inspect.signature(type(built)).parameters.values()
        if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    assert len(positional) == len(context)


@pytest.mark.parametrize(("part", "context", "given"), PARTS, ids=lambda p: getattr(p, "__name__", ""))
def test_defaults_agree(part, context, given):
    """Where the class has a default too, it is the specification's (None stands for plain softmax)."""
    built = build(part(), *context)
    for name, parameter in keywords(type(built)).items():
        if parameter.default is inspect.Parameter.empty or name in given:
            continue
        expected = part.model_fields[name].get_default(call_default_factory=True)
        assert parameter.default == (None if expected == spec.Softmax() else expected), name


TRANSFORMERS = [part for part in members(spec.Model) if issubclass(part, spec.Network)]


@pytest.mark.parametrize("part", TRANSFORMERS, ids=lambda p: p.__name__)
def test_models_take_the_fields_of_their_specification(part):
    """And check them, like the specification itself."""
    fields = part(layers=1, width=8)
    around = ((1, 8, 8), 11) if part is spec.Patches else (11, 8)
    model = build(fields, *around)
    assert type(model).__name__ == part.__name__
    again = type(model)(*around, **fields.settings())
    assert {n: p.shape for n, p in again.named_parameters()} == {
        n: p.shape for n, p in model.named_parameters()
    }
    with pytest.raises(ValueError, match="kv_heads = 3 does not divide"):
        type(model)(*around, mixer={"kind": "attention", "kv_heads": 3})


@pytest.mark.parametrize("family", UNIONS, ids=range(len(UNIONS)))
def test_kinds_are_distinct_and_named(family):
    kinds = [member.model_fields["kind"].default for member in members(family)]
    assert len(set(kinds)) == len(kinds)
    for member, kind in zip(members(family), kinds, strict=True):
        assert get_args(member.model_fields["kind"].annotation) == (kind,)


def test_build_passes_every_setting_on():
    layer = build(
        spec.Attention(heads=4, kv_heads=2, head_size=6, window=3, scale=0.1), 16, spec.Rotary(base=7.0)
    )
    assert isinstance(layer, Attention)
    assert (layer.heads, layer.kv_heads, layer.size, layer.window, layer.scale) == (4, 2, 6, 3, 0.1)
    assert isinstance(layer.position, Rotary)
    assert layer.position.base == 7.0
    norm = build(spec.LayerNorm(eps=0.5, gain=False, bias=True), 5)
    assert (norm.eps, norm.gain, tuple(norm.bias.shape)) == (0.5, None, (5,))
    glu = build(spec.GLU(multiple=7, activation="sigmoid"), 16, bias=True)
    assert glu.up.out_features == 49  # 128/3 rounded up to a multiple of 7
    assert glu.activation is torch.sigmoid
    assert glu.up.bias is not None


@pytest.mark.parametrize(("length", "expected"), [(None, 8), (20, 20)])
def test_learned_positions_default_to_the_context(length, expected):
    model = build(spec.Decoder(layers=1, width=8, position=spec.Learned(length=length)), 11, 8)
    assert isinstance(model, Decoder)
    assert isinstance(model.position, Learned)
    assert model.position.num_embeddings == expected
