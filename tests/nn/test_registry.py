"""A specification's fields are its class's keyword arguments, so that the two cannot drift apart."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, get_args, get_origin

import pytest
import torch

from danlu import spec
from danlu.models import Decoder
from danlu.nn import Attention, Block, Learned, Rotary, build


def members(family: Any) -> list[type[spec.Spec]]:
    """The specifications in a union, or the one that a family has."""
    if get_origin(family) is Annotated:
        family = get_args(family)[0]
    return list(get_args(family)) or [family]


# Each family with what only its surroundings know: positional arguments, then keyword arguments.
FAMILIES: list[tuple[Any, tuple[Any, ...], set[str]]] = [
    (spec.Norm, (16,), set()),
    (spec.Position, (16,), set()),
    (spec.FeedForward, (16,), {"bias"}),
    (spec.Mixer, (16, spec.Rotary()), {"bias"}),
    (spec.Model, (11, 8), set()),
]
PARTS = [
    (member, context, given)
    for family, context, given in FAMILIES
    for member in members(family)
    if member is not spec.NoPosition  # nothing is built for it
]


def keywords(cls: type) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(cls).parameters.values()
    return {p.name: p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def example(part: type[spec.Spec]) -> spec.Spec:
    return part(length=8) if part is spec.Learned else part()


@pytest.mark.parametrize(("part", "context", "given"), PARTS, ids=lambda p: getattr(p, "__name__", ""))
def test_fields_are_keyword_arguments(part, context, given):
    built = build(example(part), *context)
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
    """Where the class has a default too, it is the specification's (init: None stands for Init())."""
    built = build(example(part), *context)
    for name, parameter in keywords(type(built)).items():
        if parameter.default is inspect.Parameter.empty or name in given:
            continue
        expected = part.model_fields[name].get_default(call_default_factory=True)
        assert parameter.default == (None if name == "init" else expected), name


@pytest.mark.parametrize(
    "family", [spec.Norm, spec.Position, spec.FeedForward, spec.Mixer, spec.Model, spec.Optimizer]
)
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
    assert isinstance(layer.rotary, Rotary)
    assert layer.rotary.base == 7.0
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


def test_a_block_alone():
    """Any two kinds of part go together in a block, which adds their branches to the stream."""
    x = torch.randn(2, 5, 16)
    for norm in members(spec.Norm):
        for feed_forward in members(spec.FeedForward):
            block = Block(
                16,
                mixer=spec.Attention(heads=2),
                feed_forward=feed_forward(),
                norm=norm(),
                position=spec.Rotary(),
            )
            middle = x + block.mixer(block.mixer_norm(x))
            assert torch.equal(block(x), middle + block.feed_forward(block.feed_forward_norm(middle)))
