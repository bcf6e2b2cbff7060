"""The encoder: that every position sees every other, its segments, its head, its documents."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from danlu import spec
from danlu.nn import AttentionMask
from danlu.objectives.language import nats_sum
from tests.models.small import ATTENTIONS, CONTEXT, VOCABULARY, attention, small, tokens

every_mixer = pytest.mark.parametrize("settings", ATTENTIONS.values(), ids=ATTENTIONS)
PLACED = ("learned", "sinusoidal", "fixed", "qk-after")  # what depends on the place in the row


def encoder(**settings):
    return small(spec.Encoder, **settings)


def sees(model):
    """Which logits change with which token: (positions, positions)."""
    text = tokens(1)
    before, rows = model(text), []
    for t in range(CONTEXT):
        changed = text.clone()
        changed[:, t] = (changed[:, t] + 1) % VOCABULARY
        rows.append((model(changed) - before)[0].abs().amax(-1) > 1e-12)
    return torch.stack(rows, dim=1)


@every_mixer
def test_every_position_sees_both_ways(settings):
    """A single layer sees what its mask says; both layers together all but for windows."""
    one = sees(encoder(**{**settings, "layers": 1, "pattern": None}))
    i = torch.arange(CONTEXT)
    mixer = settings["mixer"]
    expected = torch.ones(CONTEXT, CONTEXT, dtype=torch.bool)
    if mixer.window is not None:
        expected = (i[:, None] - i).abs() < mixer.window
    elif isinstance(mixer.sparse, spec.Strided):
        apart = (i[:, None] - i).abs()
        expected = (apart < mixer.sparse.stride) | (apart % mixer.sparse.stride == 0)
    elif mixer.sparse is not None:
        expected = (i[:, None] // 4 == i // 4) | (i % 4 >= 2)
    assert torch.equal(one, expected)
    if mixer.window is None:
        assert sees(encoder(**settings)).all()


@pytest.mark.parametrize("weights", [spec.Softmax(), spec.SoftmaxOne(), spec.Clipped(alpha=0.5)])
def test_without_positions_the_order_plays_no_part(weights):
    """Tokens in another order give the logits in that order."""
    model = encoder(**attention(weights=weights), position=spec.NoPosition())
    text, order = tokens(), torch.randperm(CONTEXT)
    torch.testing.assert_close(model(text[:, order]), model(text)[:, order], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "position", [spec.ALiBi(), spec.Kerple(), spec.Sandwich(size=8)], ids=lambda p: p.kind
)
def test_symmetric_distances_read_backwards_alike(position):
    """Also through a window, and with scores scaled by what is seen."""
    model = encoder(**attention(window=4, log_n=2), position=position)
    text = tokens()
    torch.testing.assert_close(model(text.flip(1)), model(text).flip(1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "position", [spec.Rotary(), spec.T5Buckets(buckets=8, distance=9), spec.Relative()], ids=lambda p: p.kind
)
def test_others_tell_left_from_right(position):
    model = encoder(position=position)
    text = tokens()
    assert not torch.allclose(model(text.flip(1)), model(text).flip(1), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", [name for name in ATTENTIONS if name not in PLACED])
def test_documents_are_as_if_alone(name):
    model = encoder(**ATTENTIONS[name])
    lengths = [3, 1, 6, 2]
    text = tokens(1)
    ids = torch.repeat_interleave(torch.arange(4), torch.tensor(lengths))[None]
    packed = model(text, documents=ids).split(lengths, dim=1)
    for logits, document in zip(packed, text.split(lengths, dim=1), strict=True):
        torch.testing.assert_close(logits, model(document), rtol=1e-5, atol=1e-5)  # angles are float32


@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu-tanh", "silu"])
def test_written_out_as_bert(activation):
    """Token, segment and position, a norm; post-norm blocks; map, activation, norm, readout with a bias."""
    model = encoder(
        position=spec.Learned(), norm=spec.LayerNorm(bias=True), embedding_norm=True, placement="post",
        bias=True, readout_bias=True, segments=2, transform=activation,
    )  # fmt: skip
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "gain" in name:
            torch.nn.init.normal_(parameter)
    text, segments = tokens(), torch.randint(2, (2, CONTEXT))

    def norm(x, part):
        return F.layer_norm(x, (16,), part.gain, part.bias, 1e-5)

    x = model.embedding.weight[text] + model.segments.weight[segments] + model.position.weight[:CONTEXT]
    x = norm(x, model.embedding_norm)
    for block in model.blocks:
        both_ways = block.mixer(x, AttentionMask(causal=False))
        x = norm(x + both_ways, block.mixer_norm)
        x = norm(x + block.feed_forward(x), block.feed_forward_norm)
    act = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}.get(
        activation, lambda x: F.gelu(x, approximate="tanh")
    )
    x = norm(act(x @ model.transform.weight.T + model.transform.bias), model.transform_norm)
    expected = x @ model.embedding.weight.T + model.readout.bias
    torch.testing.assert_close(model(text, segments=segments), expected, rtol=1e-10, atol=1e-10)
    first = torch.zeros(2, CONTEXT, dtype=torch.int64)
    assert torch.equal(model(text), model(text, segments=first))
    assert not torch.allclose(model(text), model(text, segments=1 - first))


@pytest.mark.parametrize("norm", [spec.BatchNorm(), spec.InstanceNorm()], ids=lambda n: n.kind)
def test_norms_over_positions_are_possible_here(norm):
    model = encoder(norm=norm)
    nats_sum(model(tokens()), tokens()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert sees(model.eval()).all()


@every_mixer
def test_every_parameter_learns(settings):
    model = encoder(**settings, segments=2, transform="gelu")
    segments = torch.randint(2, (8, CONTEXT))
    nats_sum(model(tokens(8), segments=segments), tokens(8)).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, name


@every_mixer
def test_bfloat16_is_close_to_float32(settings):
    """The bound of the decoder's test: 2.5 % over four layers."""
    model = encoder(double=False, **{**settings, "layers": 4, "width": 64})
    text = tokens(4)
    exact = model(text)
    model.compute = torch.bfloat16
    logits = model(text)
    assert logits.dtype == torch.float32
    assert (logits - exact).norm() <= 0.025 * exact.norm()
