"""Rescaled channels keep the function; SmoothQuant and AWQ do what their papers say."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from danlu import spec
from danlu.quantization import (
    awq,
    fake_quantize,
    first_calls,
    inner_seams,
    named,
    norm_seams,
    quantize,
    smooth_blocks,
    smoothquant_scales,
)
from tests.models.small import ATTENTIONS, CAUSAL, attention, small, tokens

KINDS: dict[str, dict[str, Any]] = {
    "plain": attention(),
    "layer-norm": {"norm": spec.LayerNorm(bias=True), "bias": True},
    "around-one": {"norm": spec.RMSNorm(around_one=True)},
    "group-norm": {"norm": spec.GroupNorm(), "placement": "double"},
    "glu": {"feed_forward": spec.GLU(biases=True), "placement": "parallel-two"},
    "relu": {"feed_forward": spec.MLP(activation="relu", biases=True), "placement": "parallel"},
    "gqa": attention(kv_heads=1),
    **{name: ATTENTIONS[name] for name in ("element-gate", "head-gate")},
    **{name: CAUSAL[name] for name in ("latent-q", "vq")},
}


@pytest.mark.parametrize("name", KINDS)
def test_rescaling_keeps_the_function(name: str) -> None:
    model, text = small(**KINDS[name]).eval(), tokens()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        before = model(text)
        for block in model.blocks:
            for seam in (*norm_seams(block), *inner_seams(block)):
                seam.rescale(torch.rand(seam.readers[0].in_features).double() * 3 + 0.1)
        torch.testing.assert_close(model(text), before, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("plain", ["mixer_norm", "feed_forward_norm", "mixer.qkv"]),
        ("glu", ["mixer_norm", "feed_forward_norm", "feed_forward.up", "mixer.qkv"]),
        ("relu", ["mixer_norm", "feed_forward.up", "mixer.qkv"]),  # parallel: one norm for both
        ("gqa", ["mixer_norm", "feed_forward_norm"]),
        ("head-gate", ["feed_forward_norm", "mixer.qkv"]),
        ("latent-q", ["mixer_norm", "feed_forward_norm"]),
    ],
)
def test_which_there_are(name: str, found: list[str]) -> None:
    block = small(**KINDS[name]).blocks[0]
    assert [seam.name for seam in (*norm_seams(block), *inner_seams(block))] == found
    relu = [seam for seam in norm_seams(small(**KINDS["relu"]).blocks[0])]
    assert len(relu[0].readers) == 2 and len(relu[0].inside) == 2


def test_smoothquants_formula() -> None:
    x = torch.tensor([4.0, 0.0, 9.0, 1e-30])
    w = [torch.tensor([[1.0, 1.0, -0.25, 1.0]]), torch.tensor([[-2.0, 0.5, 0.1, 0.0]])]
    s = smoothquant_scales(x, w)
    assert s.tolist() == pytest.approx([(4 / 2) ** 0.5, 1, (9 / 0.25) ** 0.5, 1e-5])
    assert smoothquant_scales(x, w, alpha=0.8)[0] == pytest.approx(4**0.8 / 2**0.2)


def planted(channel: int = 3, factor: float = 60.0, **settings: Any) -> tuple[Any, torch.Tensor]:
    """A decoder one channel of whose stream is large after every norm, and text for it."""
    model = small(**{"double": False, "width": 64, **settings}).eval()
    with torch.no_grad():
        for block in model.blocks:
            for norm in (block.mixer_norm, block.feed_forward_norm):
                norm.gain[channel] *= factor
            for part in (block.mixer, block.feed_forward):
                for reader in part.readers():
                    reader.weight[:, channel] /= factor
    return model, tokens(8)


def rounded_inputs(model: Any, text: torch.Tensor) -> torch.Tensor:
    """Logits with the inputs of every map that reads a norm in int8, one scale for all."""
    format = named("int8", "tensor")
    hooks = [
        reader.register_forward_pre_hook(lambda _, args: (fake_quantize(args[0], format),))
        for block in model.blocks
        for part in (block.mixer, block.feed_forward)
        for reader in part.readers()
    ]
    try:
        return model(text).detach()
    finally:
        for hook in hooks:
            hook.remove()


def test_smoothing_mends_a_planted_channel() -> None:
    model, text = planted()
    exact = model(text).detach()
    before = (rounded_inputs(model, text) - exact).norm()
    smooth_blocks(model, [text])
    torch.testing.assert_close(model(text), exact, rtol=1e-4, atol=1e-5)
    # α = ½ takes the root of 60 from the channel: about an eighth of the error, and half is asked for
    assert (rounded_inputs(model, text) - exact).norm() < 0.5 * before


def test_smoothing_needs_a_norm_with_a_gain() -> None:
    model = small(norm=spec.RMSNorm(gain=False))
    with pytest.raises(ValueError, match=r"blocks.0 has no norm with a learned gain .* \(placement = pre\)"):
        smooth_blocks(model, [tokens()])


def test_awq_takes_the_scale_with_the_least_error_of_its_part() -> None:
    """Recomputed from the module's own inputs: no other α of the grid does better, and 0, which is rounding
    to the nearest, does worse."""
    model, text = small(double=False, width=32).eval(), tokens(8)
    with torch.no_grad():
        model.blocks[0].mixer_norm.gain.mul_(torch.linspace(0.2, 4, 32))
    format, block, calls = named("int2-affine", 16), model.blocks[0], first_calls(model, [text])
    mixer, weight = block.mixer, block.mixer.qkv.weight.detach().clone()
    with torch.no_grad():
        h = block.mixer_norm(calls[0][0])
        exact = mixer(h)
        mean = h.abs().flatten(0, 1).mean(dim=0)
        errors = {}
        for alpha in (i / 20 for i in range(20)):
            s = mean**alpha / (mean.max() ** alpha * mean.min() ** alpha) ** 0.5
            mixer.qkv.weight.copy_(quantize(weight * s, format).dequantize() / s)
            errors[alpha] = float((mixer(h) - exact).square().sum())
        mixer.qkv.weight.copy_(weight)
    before = model(text).detach()
    seams = norm_seams(block)[:1]
    found = awq(seams, calls, block, format)["mixer_norm"]
    assert (
        errors[found] == pytest.approx(min(errors.values()), rel=1e-3) and errors[found] < 0.95 * errors[0.0]
    )
    torch.testing.assert_close(model(text), before, rtol=1e-4, atol=1e-5)
    assert not torch.equal(mixer.qkv.weight, weight)
