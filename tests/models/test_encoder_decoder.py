"""Encoder and decoder together: who sees what, their one embedding, their two stacks."""

from __future__ import annotations

import pytest
import torch

from danlu import spec
from danlu.nn import AttentionMask, CrossAttention, rms_norm
from danlu.objectives.language import nats_sum
from tests.models.small import ATTENTIONS, CONTEXT, VOCABULARY, attention, small, tokens

SOURCE = 7
every_mixer = pytest.mark.parametrize("settings", ATTENTIONS.values(), ids=ATTENTIONS)


def both(**settings):
    return small(spec.EncoderDecoder, **settings)


def changed_at(text, t):
    other = text.clone()
    other[:, t] = (other[:, t] + 1) % VOCABULARY
    return other


@every_mixer
def test_the_decoder_sees_the_past_and_the_whole_memory(settings):
    model = both(**settings)
    text, source = tokens(1), tokens(1, SOURCE)
    before = model(text, encoder_tokens=source)
    for t in (0, 1, CONTEXT // 2, CONTEXT - 1):
        after = model(changed_at(text, t), encoder_tokens=source)
        torch.testing.assert_close(after[:, :t], before[:, :t], rtol=1e-12, atol=1e-12)
        assert not torch.allclose(after[:, t], before[:, t])
    for t in range(SOURCE):
        after = model(text, encoder_tokens=changed_at(source, t))
        assert ((after - before).abs().amax(-1) > 1e-12).all()  # every position sees every other's


def test_the_encoder_sees_both_ways_and_keeps_documents_apart():
    model = both()
    source = tokens(1, SOURCE)
    before = model.encode(source)
    for t in range(SOURCE):
        assert ((model.encode(changed_at(source, t)) - before).abs().amax(-1) > 1e-12).all()
    ids = torch.tensor([[0, 0, 0, 1, 1, 1, 1]])
    parts = [model.encode(part) for part in source.split([3, 4], dim=1)]
    apart = model.encode(source, documents=ids)
    torch.testing.assert_close(apart, torch.cat(parts, dim=1), rtol=1e-5, atol=1e-5)  # angles are float32


@pytest.mark.parametrize("placement", ["pre", "post", "double", "output"])
@pytest.mark.parametrize("tied", [False, True])
def test_written_out(placement, tied):
    """One embedding for both; encoder blocks of two branches, decoder blocks of three; a readout."""
    model = both(
        placement=placement, tied=tied, encoder_layers=1, **attention(kv_heads=1), norm=spec.RMSNorm()
    )
    text, source = tokens(), tokens(2, SOURCE)
    norms = placement != "post"
    x = model.embedding.weight[source]
    for block in model.encoder.blocks:
        assert block.cross is None
        x = block(x, AttentionMask(causal=False))
    memory = rms_norm(x) if norms else x
    torch.testing.assert_close(memory, model.encode(source), rtol=1e-12, atol=1e-12)
    y = model.embedding.weight[text]
    for block in model.decoder.blocks:
        assert isinstance(block.cross, CrossAttention)
        y = block(y, AttentionMask(), None, memory)
    y = rms_norm(y) if norms else y
    weight = model.embedding.weight if tied else model.readout.weight
    for given in ({"encoder_tokens": source}, {"memory": memory}):
        torch.testing.assert_close(model(text, **given), y @ weight.T, rtol=1e-11, atol=1e-11)
    assert (len(model.encoder.blocks), len(model.decoder.blocks), len(model.blocks)) == (1, 2, 3)


def test_each_stack_has_positions_of_its_own():
    """T5: one table for all layers of the encoder, and one for all of the decoder; none to the memory."""
    model = both(position=spec.T5Buckets(buckets=8, distance=9))
    tables = [name for name, _ in model.named_parameters() if name.endswith("table")]
    assert sorted(tables) == ["decoder.position.table", "encoder.position.table"]
    assert all(block.cross.relative == () for block in model.decoder.blocks)
    learned = both(position=spec.Learned())
    assert learned.encoder.position is not learned.decoder.position


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.3}])
def test_recomputation_gives_the_same_bits(settings):
    text, source, targets = tokens(), tokens(2, SOURCE), tokens()
    gradients = []
    for recompute in (False, True):
        model = both(double=False, **settings)
        model.recompute = recompute
        assert model.encoder.recompute == model.decoder.recompute == model.recompute == recompute
        torch.manual_seed(5)
        loss = nats_sum(model(text, encoder_tokens=source), targets)
        loss.backward()
        gradients.append([loss.detach(), *(p.grad for p in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@every_mixer
def test_every_parameter_learns(settings):
    model = both(**settings)
    nats_sum(model(tokens(8), encoder_tokens=tokens(8, SOURCE)), tokens(8)).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, name


@every_mixer
def test_bfloat16_is_close_to_float32(settings):
    """The bound of the decoder's test, for the eight layers that a token passes here: √2 · 2.5 %."""
    model = both(double=False, **{**settings, "layers": 4, "width": 64})
    text, source = tokens(4), tokens(4, SOURCE)
    exact = model(text, encoder_tokens=source)
    model.compute = torch.bfloat16
    assert (model(text, encoder_tokens=source) - exact).norm() <= 2**0.5 * 0.025 * exact.norm()


def test_without_a_memory_it_says_so():
    with pytest.raises(ValueError, match="attends to a memory, and none was given"):
        both()(tokens())
