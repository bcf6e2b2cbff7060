"""FLOPs as the parts count them are what PyTorch's own counter sees in the matrix products."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from danlu import spec
from danlu.models import EncoderDecoder, build
from danlu.nn import kernels, plain
from danlu.objectives.language import nats_sum

VOCABULARY, CONTEXT, BATCH = 29, 24, 3
CONFIGURATIONS = [
    spec.Decoder(layers=2, width=16),
    spec.Decoder(layers=3, width=16, tied=False, bias=True, norm=spec.LayerNorm(), readout_bias=True),
    spec.Decoder(layers=2, width=16, mixer=spec.Attention(heads=4, kv_heads=2), feed_forward=spec.GLU()),
    spec.Decoder(layers=1, width=16, mixer=spec.Attention(heads=3, head_size=10, window=7)),
    spec.Decoder(layers=1, width=16, position=spec.Learned()),
    spec.Decoder(layers=1, width=16, mixer=spec.Attention(kv_heads=1, qk_norm=spec.QKNorm()), softcap=3.0),
    spec.Decoder(layers=1, width=16, mixer=spec.Attention(gate=spec.ElementGate()), embedding_width=6),
    spec.Decoder(layers=2, width=16, mixer=spec.Attention(gate=spec.HeadGate()), placement="parallel"),
    spec.Decoder(layers=1, width=16, mixer=spec.LatentAttention(latent=6, query_latent=5, rotary_size=4)),
    spec.Encoder(layers=2, width=16, feed_forward=spec.GLU(), transform="gelu", segments=2),
    spec.EncoderDecoder(layers=2, width=16, encoder_layers=1, mixer=spec.Attention(kv_heads=2)),
    spec.EncoderDecoder(layers=1, width=16, mixer=spec.Attention(gate=spec.ElementGate())),
]
WRITTEN_OUT = [
    spec.Decoder(layers=1, width=16, mixer=spec.Attention(softcap=3.0, weights=spec.Sinks())),
    spec.Decoder(layers=1, width=16, mixer=spec.Attention(weights=spec.Clipped(), kv_heads=2)),
    spec.Decoder(layers=1, width=16, position=spec.Relative(distance=5)),
    spec.Encoder(layers=1, width=16, position=spec.T5Buckets(), mixer=spec.Attention(log_n=3)),
]


def in_place(into, a, b, **_):
    """FLOPs of ``baddbmm_``, which PyTorch's counter leaves out, from the shapes."""
    return 2 * a[0] * a[1] * a[2] * b[2]


each = pytest.mark.parametrize("config", CONFIGURATIONS)


def lengths_of(model, length):
    return (length, 2 * length) if isinstance(model, EncoderDecoder) else (length,)


def counted(model, length, *, training=False):
    """What PyTorch counts for the model's ``flops(BATCH, *lengths_of(model, length))``."""
    parts = [torch.randint(VOCABULARY, (BATCH, part)) for part in lengths_of(model, length)]
    more = {"encoder_tokens": parts[1]} if len(parts) > 1 else {}
    with (
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False, custom_mapping={torch.ops.aten.baddbmm_: in_place}) as counter,
    ):
        loss = nats_sum(model(parts[0], **more), parts[0])
        if training:
            loss.backward()
    return counter.get_total_flops()


@each
@pytest.mark.parametrize("kernel", ["plain", "sdpa"])
def test_a_pass_costs_what_its_parts_say(monkeypatch, config, kernel):
    monkeypatch.setattr(kernels, "choose", lambda *_, **__: kernels.Choice(kernel, "asked for"))
    assert 2 * CONTEXT <= plain.BLOCK  # so that the plain kernel computes every pair too
    model = build(config, VOCABULARY, CONTEXT)
    for length in (1, 7, CONTEXT):
        assert counted(model, length) == model.flops(BATCH, *lengths_of(model, length))


@each
@pytest.mark.parametrize("kernel", ["plain", "sdpa"])
def test_a_training_step_costs_three_passes(monkeypatch, config, kernel):
    monkeypatch.setattr(kernels, "choose", lambda *_, **__: kernels.Choice(kernel, "asked for"))
    model = build(config, VOCABULARY, CONTEXT)
    assert counted(model, CONTEXT, training=True) == 3 * model.flops(BATCH, *lengths_of(model, CONTEXT))


def test_long_texts_cost_the_plain_kernel_less(monkeypatch):
    """In blocks of a quarter of the text it computes 10 of 16 blocks of pairs: those not wholly masked."""
    monkeypatch.setattr(kernels, "choose", lambda *_, **__: kernels.Choice("plain", "asked for"))
    monkeypatch.setattr(plain, "BLOCK", CONTEXT // 4)
    model = build(spec.Decoder(layers=2, width=16), VOCABULARY, CONTEXT)
    pairs = 2 * 4 * BATCH * 16 * CONTEXT**2
    assert counted(model, CONTEXT) == model.flops(BATCH, CONTEXT) - pairs * 6 // 16


@pytest.mark.parametrize("config", WRITTEN_OUT, ids=range(len(WRITTEN_OUT)))
@pytest.mark.parametrize("training", [False, True])
def test_what_is_written_out_costs_the_same_products(config, training):
    model = build(config, VOCABULARY, CONTEXT)
    assert counted(model, CONTEXT, training=training) == (3 if training else 1) * model.flops(BATCH, CONTEXT)


def test_the_encoder_is_as_long_as_the_decoder_unless_told():
    model = build(spec.EncoderDecoder(layers=1, width=16), VOCABULARY, CONTEXT)
    assert model.flops(BATCH, 7) == model.flops(BATCH, 7, 7) < model.flops(BATCH, 7, 8)
