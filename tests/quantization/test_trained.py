"""Whole networks in few bits."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from danlu import spec
from danlu.quantization import (
    AWQ,
    GPTQ,
    RTN,
    LeastError,
    Moments,
    first_calls,
    gptq,
    linear_maps,
    named,
    next_calls,
    quantize,
    quantize_blocks,
    watch,
)
from tests.models.small import ATTENTIONS, CAUSAL, small, tokens

KINDS: dict[str, dict[str, Any]] = {
    "gqa": ATTENTIONS["gqa-window"], "element-gate": ATTENTIONS["element-gate"], "latent": CAUSAL["latent-q"],
    "vq": CAUSAL["vq"], "lru": CAUSAL["lru"], "parallel": {"placement": "parallel"},
    "post": {"placement": "post", "norm": spec.LayerNorm(bias=True)},
}  # fmt: skip
METHODS: list[Any] = [RTN(LeastError(grid=10)), GPTQ(order=True), AWQ()]


@pytest.mark.parametrize(
    ("name", "by"),
    [(n, by) for n in KINDS for by in METHODS if by != AWQ() or n in ("gqa", "parallel")],
    ids=str,
)
def test_the_model_holds_what_is_given_back(name: str, by: Any) -> None:
    model, text = small(double=False, **{"layers": 1} | KINDS[name]), tokens()
    kept = {n: p.clone() for n, p in model.named_parameters() if not n.startswith("blocks.")}
    found = quantize_blocks(model, named("int3", 8 if "l" not in name else "channel"), by, [text])
    state = model.state_dict()
    assert all(torch.equal(state[n], q.dequantize()) for n, q in found.items())
    assert all(torch.equal(state[n], p) for n, p in kept.items())
    maps = {f"blocks.{i}.{n}.weight" for i, block in enumerate(model.blocks) for n in linear_maps(block)}
    assert found.keys() == maps and not any("gate.map" in n for n in maps)
    assert torch.isfinite(model(text)).all()


def test_to_the_nearest_needs_no_inputs() -> None:
    model, other = small(double=False), small(double=False)
    found = quantize_blocks(model, named("int4", 16), RTN())
    for i, block in enumerate(other.blocks):
        for name, linear in linear_maps(block).items():
            wanted = quantize(linear.weight.detach(), named("int4", 16)).dequantize()
            assert torch.equal(found[f"blocks.{i}.{name}.weight"].dequantize(), wanted)


def test_gptq_sees_the_stream_of_the_rounded_blocks_before() -> None:
    """The second block's maps, rounded by hand with inputs that the first one, rounded, makes."""
    model, by_hand, text = small(double=False), small(double=False), [tokens(), tokens()]
    format = named("int3", 8)
    found = quantize_blocks(model, format, GPTQ(damp=0.05), text)
    by_hand.eval().blocks[0].load_state_dict(model.blocks[0].state_dict())
    calls = next_calls(by_hand.blocks[0], first_calls(by_hand, text))
    for name, linear in linear_maps(by_hand.blocks[1]).items():
        moments = Moments(linear.in_features)
        watch(by_hand.blocks[1], calls, [linear], lambda _, x, moments=moments: moments.add(x))
        wanted = gptq(linear.weight.detach(), moments.hessian, format, damp=0.05).quantized
        assert torch.equal(found[f"blocks.1.{name}.weight"].codes, wanted.codes)


def test_a_map_that_is_not_called_is_rounded_to_the_nearest() -> None:
    """The input map of a recurrence is multiplied into its weight's rows."""
    model, other, text = (*(small(double=False, **CAUSAL["lru"]) for _ in range(2)), tokens())
    found = quantize_blocks(model, named("int4"), GPTQ(), [text])["blocks.0.mixer.input.weight"]
    wanted = quantize(other.blocks[0].mixer.input.weight.detach(), named("int4"))
    assert torch.equal(found.dequantize(), wanted.dequantize())


def test_gptq_and_awq_cost_less_than_rounding_to_the_nearest() -> None:
    """On the logits of the text that they saw, mean square over two networks whose inputs differ in size by
    channel."""
    errors = dict.fromkeys(("rtn", "gptq", "awq"), 0.0)
    for seed in range(2):
        for name, by in (("rtn", RTN()), ("gptq", GPTQ()), ("awq", AWQ())):
            model = small(seed=seed, double=False, width=32).eval()
            with torch.no_grad():
                for block in model.blocks:
                    block.mixer_norm.gain.copy_(torch.rand(32) ** 3 * 4)
                    block.feed_forward_norm.gain.copy_(torch.rand(32) ** 3 * 4)
            text = torch.randint(13, (8, 12), generator=torch.Generator().manual_seed(seed))
            exact = model(text).detach()
            quantize_blocks(model, named("int3", 16), by, [text])
            errors[name] += float((model(text).detach() - exact).square().mean())
    assert errors["gptq"] < 0.8 * errors["rtn"] and errors["awq"] < 0.9 * errors["rtn"]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: quantize_blocks(small(spec.EncoderDecoder, double=False), named("int4"), RTN()),
            r"the model is an? EncoderDecoder; allowed: decoder, encoder, patches",
        ),
        (lambda: quantize_blocks(small(), named("int4"), GPTQ()), r"no inputs were given"),
        (
            lambda: quantize_blocks(small(), named("int4", 32), RTN()),
            r"blocks.0.mixer.qkv.weight: groups of 32 do not divide the last dimension, 16 numbers",
        ),
    ],
)
def test_what_cannot_be_gets_a_sentence(call: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()
