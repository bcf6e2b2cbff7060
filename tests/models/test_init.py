"""Initial weights: their spread within five standard errors, and what the branches start as."""

from __future__ import annotations

import math

import pytest
import torch

from danlu import spec
from danlu.models import build as build_model
from danlu.models.initialise import draw_deepnorm
from danlu.nn import LRU, HeadGate, Linear
from danlu.nn.codebook import Codebook

VOCABULARY, WIDTH = 500, 64


def build(init, **settings):
    torch.manual_seed(1)
    return build_model(spec.Decoder(layers=3, width=WIDTH, init=init, **settings), VOCABULARY, 40)


def assert_normal(weight, std):
    """Of n normal numbers the mean is off by std/√n, the spread by std/√(2n) (standard errors)."""
    n = weight.numel()
    assert abs(weight.mean().item()) < 5 * std / math.sqrt(n)
    assert abs(weight.std().item() - std) < 5 * std / math.sqrt(2 * n)
    kurtosis = ((weight - weight.mean()) / weight.std()).pow(4).mean().item()
    assert abs(kurtosis - 3) < 5 * math.sqrt(24 / n)  # a normal distribution's is 3


@pytest.mark.parametrize("std", [None, 0.05])
def test_weights_have_the_stated_spread(std):
    model = build(spec.Init(std=std, embedding=0.3, branch="same"), tied=False, feed_forward=spec.GLU())
    linear = [m for m in model.modules() if isinstance(m, Linear)]
    assert len(linear) == 3 * 5 + 1
    for module in linear:
        assert_normal(module.weight, std or module.in_features**-0.5)
    assert_normal(model.embedding.weight, 0.3)


def test_learned_positions_are_embeddings():
    model = build(spec.Init(embedding=0.3), position=spec.Learned())
    assert_normal(model.position.weight, 0.3)


def test_the_readout_has_its_own_spread():
    model = build(spec.Init(readout=0.007), tied=False)
    assert_normal(model.readout.weight, 0.007)
    assert_normal(build(spec.Init(embedding=0.3)).readout.weight, 0.3)  # tied


@pytest.mark.parametrize("branch", ["same", "depth", "zero"])
def test_biases_start_at_zero_and_gains_at_one(branch):
    model = build(spec.Init(branch=branch), bias=True, norm=spec.LayerNorm(bias=True))
    named = dict(model.named_parameters())
    biases = [p for name, p in named.items() if name.endswith("bias")]
    gains = [p for name, p in named.items() if name.endswith("gain")]
    assert len(biases) == 3 * (4 + 2) + 1
    assert len(gains) == 3 * 2 + 1
    assert all((p == 0).all() for p in biases)
    assert all((p == 1).all() for p in gains)


def test_depth_divides_the_ends_of_branches_alone():
    same, depth = (build(spec.Init(branch=branch)) for branch in ("same", "depth"))
    ends = {id(end.weight) for block in depth.blocks for end in block.branch_ends()}
    assert len(ends) == 6
    for a, b in zip(same.parameters(), depth.parameters(), strict=True):
        torch.testing.assert_close(b, a / math.sqrt(2 * 3) if id(b) in ends else a, rtol=1e-6, atol=0)


@pytest.mark.parametrize("feed_forward", [spec.MLP(), spec.GLU()])
@pytest.mark.parametrize("bias", [False, True])
def test_zero_makes_every_block_the_identity(feed_forward, bias):
    model = build(spec.Init(branch="zero"), feed_forward=feed_forward, bias=bias)
    x = torch.randn(2, 9, WIDTH)
    for block in model.blocks:
        assert torch.equal(block(x), x)
    other = build(spec.Init(branch="same"), feed_forward=feed_forward, bias=bias)
    assert not torch.allclose(other.blocks[0](x), x)


def test_the_same_seed_draws_the_same_weights():
    one, other = build(spec.Init()), build(spec.Init())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def assert_xavier(matrix, gain):
    assert_normal(matrix, gain * math.sqrt(2 / sum(matrix.shape)))


def branches(block):
    """The matrices of a block's branches by name: those above one another in one weight apart."""
    found = {}
    for name, module in block.named_modules():
        if isinstance(module, Linear):
            parts = module.weight.split(module.rows)
            found.update({f"{name}.{i}" if len(parts) > 1 else name: p for i, p in enumerate(parts)})
    return found


VALUES = {"mixer.qkv.2", "mixer.out", "cross.kv.1", "cross.out", "feed_forward.up", "feed_forward.down"}
DEEP = {"residual": spec.DeepNorm(), "placement": "post", "init": spec.Init(branch="same")}


def assert_deepnorm(blocks, alpha, beta, mixer):
    for block in blocks:
        assert block.mixer_residual.alpha == block.feed_forward_residual.alpha == pytest.approx(alpha)
        matrices = branches(block)
        assert len(matrices) == (10 if block.cross is not None else 6)
        for name, matrix in matrices.items():
            assert_xavier(matrix, beta if name in VALUES else 1.0)
        q, k, v = (matrices[f"mixer.qkv.{i}"] for i in range(3))
        assert (q.shape[0], k.shape[0], v.shape[0]) == (
            WIDTH, *[WIDTH * (mixer.kv_heads or mixer.heads) // mixer.heads] * 2,
        )  # fmt: skip


@pytest.mark.parametrize("kind", [spec.Decoder, spec.Encoder])
@pytest.mark.parametrize("mixer", [spec.Attention(), spec.Attention(kv_heads=2)])
@pytest.mark.parametrize("std", [None, 0.3])
def test_deepnorm_draws_the_value_path_with_its_gain(kind, mixer, std):
    """Wang et al. 2022, figure 2: α = (2N)^¼ and β = (8N)^−¼, with N = 3; q and k with gain 1. Each matrix
    has the spread of its own shape, though q, k and v are one weight; whatever ``std`` is asked for."""
    init = spec.Init(branch="same", std=std)
    torch.manual_seed(1)
    model = build_model(kind(layers=3, width=WIDTH, mixer=mixer, **{**DEEP, "init": init}), VOCABULARY, 40)
    assert_deepnorm(model.blocks, 6**0.25, 24**-0.25, mixer)


def test_deepnorm_has_constants_of_its_own_for_each_stack():
    """Encoder of N = 4: 0.81 (N⁴M)^(1/16), 0.87 (N⁴M)^(−1/16); decoder of M = 2: (3M)^¼, (12M)^−¼."""
    mixer = spec.Attention()
    torch.manual_seed(1)
    whole = spec.EncoderDecoder(layers=2, encoder_layers=4, width=WIDTH, mixer=mixer, **DEEP)
    model = build_model(whole, VOCABULARY, 40)
    root = (4**4 * 2) ** (1 / 16)
    assert_deepnorm(model.encoder.blocks, 0.81 * root, 0.87 / root, mixer)
    assert_deepnorm(model.decoder.blocks, 6**0.25, 24**-0.25, mixer)
    assert all(block.cross_residual.alpha == pytest.approx(6**0.25) for block in model.decoder.blocks)


def test_deepnorm_with_given_constants_and_with_adams():
    given = build(spec.Init(branch="same"), placement="post", residual=spec.DeepNorm(alpha=2.0, beta=0.5))
    assert_deepnorm(given.blocks, 2.0, 0.5, spec.Attention())
    adam = build(spec.Init(branch="same"), placement="post", residual=spec.DeepNorm(rule="adam"))
    assert_deepnorm(adam.blocks, 6**0.5, 6**-0.5, spec.Attention())


def test_deepnorm_draws_latent_attention_by_its_value_path():
    """Of the matrix that makes keys and values, the values' rows alone are smaller, by β; so is the
    last map."""
    mixer = spec.LatentAttention(heads=4, latent=32, head_size=16, value_size=32)
    model = build(spec.Init(branch="same"), mixer=mixer)
    draw_deepnorm(model.blocks, 0.25)
    for block in model.blocks:
        up = block.mixer.kv_up.weight
        sigma = math.sqrt(2 / sum(up.shape))
        keys, values = up.unflatten(0, (4, 48)).split((16, 32), dim=1)
        assert_normal(keys, sigma)
        assert_normal(values, 0.25 * sigma)
        assert_xavier(block.mixer.out.weight, 0.25)
        assert_xavier(block.mixer.q.weight, 1.0)


@pytest.mark.parametrize("branch", ["same", "depth", "zero"])
def test_parts_keep_the_weights_of_their_own_kind(branch):
    """The recurrence's are those of its paper; a gate's bias, sinks and code words are left as they were."""
    model = build(spec.Init(branch=branch, std=0.3), mixer=spec.LRU(state=200), position=spec.NoPosition())
    for lru in (m for m in model.modules() if isinstance(m, LRU)):
        assert_normal(lru.input.weight, (2 * WIDTH) ** -0.5)
        assert_normal(lru.output.weight, 200**-0.5)
        modulus = torch.exp(-torch.exp(lru.nu))
        assert modulus.min() >= 0.9 - 1e-6 and modulus.max() <= 0.999 + 1e-6
    gated = spec.Attention(gate=spec.HeadGate(open=0.1), weights=spec.Sinks())
    model = build(spec.Init(branch=branch), mixer=gated, bias=True)
    for gate in (m for m in model.modules() if isinstance(m, HeadGate)):
        torch.testing.assert_close(gate.bias.sigmoid(), torch.full((4,), 0.1))
    model = build(spec.Init(branch=branch), mixer=spec.VQAttention(heads=2), position=spec.NoPosition())
    for book in (m for m in model.modules() if isinstance(m, Codebook)):
        size = book.codes.square().mean(-1).sqrt()
        torch.testing.assert_close(size, torch.full_like(size, 32**-0.25 / 4), rtol=1e-4, atol=0)


def test_the_readouts_bias_starts_at_zero():
    model = build(spec.Init(), readout_bias=True, tied=False)
    assert (model.readout.bias == 0).all()


@pytest.mark.parametrize("kind", [spec.Decoder, spec.Encoder, spec.EncoderDecoder])
def test_depth_counts_the_layers_of_each_stack(kind):
    """Each stack's ends are divided by √(2 · its own layers)."""
    more = {"encoder_layers": 8} if kind is spec.EncoderDecoder else {}
    whole = kind(layers=2, width=WIDTH, init=spec.Init(branch="depth", std=0.1), **more)
    model = build_model(whole, VOCABULARY, 40)
    ends = [end for block in model.blocks for end in block.branch_ends()]
    assert len(ends) == {"decoder": 4, "encoder": 4, "encoder-decoder": 16 + 6}[whole.kind]
    for i, end in enumerate(ends):
        assert_normal(end.weight, 0.1 / math.sqrt(2 * (8 if more and i < 16 else 2)))
