"""Turned networks have the same function; what cannot be turned is told."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from danlu import spec
from danlu.nn import Attention, LatentAttention
from danlu.quantization import hadamard, random_hadamard, random_orthogonal, rotate, rotate_values, untie
from danlu.spec.bottlenecks import Gaussian
from tests.models.small import ATTENTIONS, CAUSAL, NONE, attention, small, tokens

RMS_BARE = spec.RMSNorm(gain=False)
LAYER_BARE = spec.LayerNorm(gain=False)
KINDS: dict[str, dict[str, Any]] = {
    **ATTENTIONS,
    **CAUSAL,
    "layer-norm": {"norm": spec.LayerNorm(bias=True), "bias": True, "readout_bias": True},
    "layer-norm-without-biases": {"norm": spec.LayerNorm(bias=True), "position": spec.Learned()},
    "around-one": {"norm": spec.RMSNorm(around_one=True)},
    "layer-around-one": {"norm": spec.LayerNorm(around_one=True), "placement": "parallel"},
    "parallel": {"placement": "parallel", "bias": True},
    "parallel-two": {"placement": "parallel-two", "norm": spec.LayerNorm(bias=True)},
    "layer-scale": {"residual": spec.LayerScale(init=0.7), "bias": True},
    "parallel-layer-scale": {"residual": spec.LayerScale(init=0.7), "placement": "parallel"},
    "rezero": {"residual": spec.ReZero()},
    "sqrt2": {"residual": spec.Halved()},
    "post-without-gain": {"norm": RMS_BARE, "placement": "post"},
    "post-layer-without-gain": {
        "norm": LAYER_BARE,
        "placement": "post",
        "bias": True,
        "embedding_norm": True,
    },
    "deepnorm": {"norm": RMS_BARE, "placement": "post", "residual": spec.DeepNorm()},
    "post-layer-scale": {"norm": RMS_BARE, "placement": "post", "residual": spec.LayerScale()},
    "double-without-gain": {"norm": RMS_BARE, "placement": "double"},
    "double-layer-without-gain": {"norm": LAYER_BARE, "placement": "double", "bias": True},
    "output-without-gain": {"norm": RMS_BARE, "placement": "output"},
    "output-layer-without-gain": {"norm": LAYER_BARE, "placement": "output", "embedding_norm": True},
    "embedding-norm": {"norm": LAYER_BARE, "embedding_norm": True, "position": spec.Learned()},
    "narrow-embedding": {"embedding_width": 6, "norm": spec.LayerNorm(bias=True)},
    "scaled": {"embedding_scale": 4.0, "logit_scale": 0.5, "softcap": 3.0, "base_width": 8},
    "no-mixer": {"mixer": spec.NoMixer(), "position": NONE},
    "glu": {"feed_forward": spec.GLU(biases=True)},
    "bottleneck": {"bottleneck": Gaussian(size=4)},
    "bottleneck-layer": {"bottleneck": Gaussian(size=4), "norm": spec.LayerNorm(bias=True)},
}
REFUSED = {
    "head-gate": "gate by slices", "head-gate-mlp": "gate by slices", "sinusoidal": "Sinusoidal adds a fixed",
    "lru": "LRU does not read", "lru-attention": "LRU does not read",
}  # fmt: skip


def drawn(settings: dict[str, Any], **more: Any) -> Any:
    """A decoder all of whose parameters, gains and biases too, are away from where they start."""
    model = small(**{"tied": False, **settings, **more}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("name", [name for name in KINDS if name not in REFUSED])
def test_a_turned_stream_gives_the_same_logits(name: str) -> None:
    model, text = drawn(KINDS[name]), tokens()
    with torch.no_grad():
        before = model(text)
        weights = model.blocks[0].feed_forward.up.weight.clone()
        rotate(model, random_orthogonal(16))
        assert not torch.allclose(model.blocks[0].feed_forward.up.weight, weights)
        torch.testing.assert_close(model(text), before, rtol=0, atol=1e-10)
    assert before.std() > 0.1


@pytest.mark.parametrize("name", REFUSED)
def test_what_reads_single_channels_is_refused_and_left_as_it_was(name: str) -> None:
    model, text = drawn(KINDS[name]), tokens()
    before = model(text)
    with pytest.raises(ValueError, match=REFUSED[name]):
        rotate(model, random_orthogonal(16))
    assert torch.equal(model(text), before)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"tied": True}, r"tied = true: .* call untie\(model\) first"),
        ({"placement": "post"}, r"mixer_norm has a gain on single channels .* placement = pre"),
        ({"placement": "double"}, r"mixer_out_norm has a gain"),
        ({"placement": "output"}, r"mixer_norm has a gain"),
        ({"embedding_norm": True}, r"embedding_norm has a gain"),
        (
            {"norm": LAYER_BARE, "placement": "post"},
            r"placement = post with norm = layer: the first layer reads",
        ),
        (
            {"norm": LAYER_BARE, "placement": "post", "embedding_norm": True, "bottleneck": Gaussian(size=4)},
            r"the layer after the bottleneck reads",
        ),
        ({"norm": spec.GroupNorm()}, r"_norm = GroupNorm does not commute"),
        (
            {"norm": RMS_BARE, "placement": "double", "residual": spec.LayerScale()},
            r"layer-scale after a norm \(placement = double\)",
        ),
    ],
)
def test_refusals(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        rotate(small(**{"tied": False, **settings}), random_orthogonal(16))


def test_an_encoder_and_a_matrix_that_is_not_orthogonal_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a Encoder; allowed: a Decoder"):
        rotate(small(spec.Encoder), random_orthogonal(16))
    for q in (torch.ones(16, 16), torch.eye(8)):
        with pytest.raises(ValueError, match=r"is not an orthogonal matrix \(16, 16\)"):
            rotate(small(tied=False), q)


def test_an_untied_readout_is_equal_and_its_own() -> None:
    model, text = small(tied=True), tokens()
    before = model(text)
    untie(model)
    assert torch.equal(model(text), before) and model.readout.weight is not model.embedding.weight
    rotate(model, random_hadamard(16))
    torch.testing.assert_close(model(text), before, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "settings",
    [
        attention(biases="all"), attention(kv_heads=1), attention(weights=spec.Clipped()),
        attention(gate=spec.HeadGate()),
        {"mixer": spec.LatentAttention(heads=2, value_size=8, latent=6, rotary_size=4)},
    ],
)  # fmt: skip
def test_turned_values_give_the_same_logits(settings: dict[str, Any]) -> None:
    model, text = drawn(settings), tokens()
    mixer = model.blocks[0].mixer
    assert isinstance(mixer, Attention | LatentAttention)
    with torch.no_grad():
        before, weight = model(text), mixer.out.weight.clone()
        rotate_values(model, random_hadamard(8))
        assert not torch.allclose(mixer.out.weight, weight)
        torch.testing.assert_close(model(text), before, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (attention(gate=spec.ElementGate()), "gate = elements"),
        (CAUSAL["lru"], "LRU has no values"),
        ({"mixer": spec.Attention(heads=4)}, r"h of shape \(8, 8\) for values of 4 numbers"),
    ],
)
def test_values_that_cannot_be_turned(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        rotate_values(small(**settings), random_orthogonal(8))


@pytest.mark.parametrize("n", [1, 2, 4, 8, 12, 20, 24, 28, 36, 40, 44, 60, 64, 76, 144, 576])
def test_hadamard_matrices(n: int) -> None:
    h = hadamard(n)
    assert torch.equal(h.abs(), torch.ones(n, n, dtype=torch.float64))
    assert torch.equal(h @ h.T, n * torch.eye(n, dtype=torch.float64))


@pytest.mark.parametrize("n", [0, 3, 6, 52])
def test_sizes_without_one(n: int) -> None:
    with pytest.raises(ValueError, match=f"n = {n}: no Hadamard matrix .* use random_orthogonal"):
        hadamard(n)


def test_random_turns_are_orthogonal_and_spread_one_channel() -> None:
    for q in (random_hadamard(24), random_orthogonal(24)):
        torch.testing.assert_close(q @ q.T, torch.eye(24, dtype=torch.float64))
    spike = torch.zeros(24, dtype=torch.float64)
    spike[5] = 100
    torch.testing.assert_close((spike @ random_hadamard(24)).abs(), torch.full((24,), 100 / 24**0.5).double())
    # Uniform: an entry of 24 × 24 has variance 1/24, and its fourth power the mean 3/(24·26).
    draws = torch.stack([random_orthogonal(24, torch.Generator().manual_seed(i)) for i in range(200)])
    corner = draws[:, 0, 0]
    assert abs(float(corner.mean())) < 4 * 24**-0.5 / 200**0.5
    assert float(draws.square().square().mean()) == pytest.approx(3 / (24 * 26), rel=0.05)
