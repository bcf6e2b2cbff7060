"""FLOPs as the parts count them are what PyTorch's own counter sees in the matrix products."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from danlu import spec
from danlu.models import build
from danlu.nn import kernels
from danlu.tasks import loss_sum

VOCABULARY, CONTEXT, BATCH = 29, 24, 3
CONFIGURATIONS = [
    spec.Decoder(layers=2, width=16),
    spec.Decoder(layers=3, width=16, tied=False, bias=True, norm=spec.LayerNorm()),
    spec.Decoder(layers=2, width=16, mixer=spec.Attention(heads=4, kv_heads=2), feed_forward=spec.GLU()),
    spec.Decoder(layers=1, width=16, mixer=spec.Attention(heads=3, head_size=10, window=7)),
    spec.Decoder(layers=1, width=16, position=spec.Learned()),
    spec.Decoder(layers=1, width=16, mixer=spec.Attention(kv_heads=1, qk_norm=spec.QKNorm()), softcap=3.0),
]


def in_place(into, a, b, **_):
    """FLOPs of ``baddbmm_``, which PyTorch's counter leaves out, from the shapes."""
    return 2 * a[0] * a[1] * a[2] * b[2]


each = pytest.mark.parametrize("config", CONFIGURATIONS)


def counted(model, length, *, training=False):
    tokens = torch.randint(VOCABULARY, (BATCH, length))
    with (
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False, custom_mapping={torch.ops.aten.baddbmm_: in_place}) as counter,
    ):
        loss = loss_sum(model, tokens, tokens)
        if training:
            loss.backward()
    return counter.get_total_flops()


@each
@pytest.mark.parametrize("kernel", ["plain", "sdpa"])
def test_a_pass_costs_what_its_parts_say(monkeypatch, config, kernel):
    monkeypatch.setattr(kernels, "choose", lambda *_, **__: kernels.Choice(kernel, "asked for"))
    assert CONTEXT <= kernels.BLOCK  # so that the plain kernel computes every pair too
    model = build(config, VOCABULARY, CONTEXT)
    for length in (1, 7, CONTEXT):
        assert counted(model, length) == model.flops(BATCH, length)


@each
@pytest.mark.parametrize("kernel", ["plain", "sdpa"])
def test_a_training_step_costs_three_passes(monkeypatch, config, kernel):
    monkeypatch.setattr(kernels, "choose", lambda *_, **__: kernels.Choice(kernel, "asked for"))
    model = build(config, VOCABULARY, CONTEXT)
    assert counted(model, CONTEXT, training=True) == 3 * model.flops(BATCH, CONTEXT)


def test_long_texts_cost_the_plain_kernel_less(monkeypatch):
    """In blocks of a quarter of the text it computes 10 of 16 blocks of pairs: those not wholly masked."""
    monkeypatch.setattr(kernels, "choose", lambda *_, **__: kernels.Choice("plain", "asked for"))
    monkeypatch.setattr(kernels, "BLOCK", CONTEXT // 4)
    model = build(spec.Decoder(layers=2, width=16), VOCABULARY, CONTEXT)
    pairs = 2 * 4 * BATCH * 16 * CONTEXT**2
    assert counted(model, CONTEXT) == model.flops(BATCH, CONTEXT) - pairs * 6 // 16
