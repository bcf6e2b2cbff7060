"""A padding mask: a padded batch gives what its sequences give one by one, forward and backward."""

from __future__ import annotations

import pytest
import torch
import torch.nn as nn

from danlu import spec
from danlu.models import Encoder
from danlu.nn import LRU, Attention, AttentionMask, Block, VQAttention
from tests.nn.test_registry import members

LENGTHS = (7, 3, 5)
WIDTH = 16


def padded(sequences, side="right"):
    """A batch (n, longest, …) with random numbers for padding, and its mask."""
    longest = max(map(len, sequences))
    batch = torch.randn(len(sequences), longest, *sequences[0].shape[1:], dtype=torch.float64)
    mask = torch.zeros(batch.shape[:2], dtype=torch.bool)
    for row, seen, sequence in zip(batch, mask, sequences, strict=True):
        place = slice(None, len(sequence)) if side == "right" else slice(longest - len(sequence), None)
        row[place], seen[place] = sequence, True
    return batch, mask


def assert_rows_alone(layer, side="right", causal=True):
    """The layer's output and gradient for a padded batch against those for each sequence."""
    layer = layer.double()
    sequences = [torch.randn(n, WIDTH, dtype=torch.float64) for n in LENGTHS]
    batch, mask = padded(sequences, side)
    # Moved to the right, positions are others, and a rotary angle is rounded to float32.
    near = {"rtol": 1e-9, "atol": 1e-10} if side == "right" else {"rtol": 1e-5, "atol": 1e-6}
    batch.requires_grad_()
    together = layer(batch, mask if causal else AttentionMask(causal=False).padded(mask))
    (gradient,) = torch.autograd.grad(together[mask].square().sum(), batch)
    assert torch.isfinite(together).all()
    assert torch.equal(gradient[~mask], torch.zeros_like(gradient[~mask]))
    for i, sequence in enumerate(sequences):
        sequence = sequence[None].requires_grad_()
        alone = layer(sequence, AttentionMask(causal))
        torch.testing.assert_close(together[i][mask[i]], alone[0], **near)
        (expected,) = torch.autograd.grad(alone.square().sum(), sequence)
        torch.testing.assert_close(gradient[i][mask[i]], expected[0], **near)


WITHIN = [p for p in members(spec.Position) if p.acts_on in ("heads", "scores", "nothing")]


@pytest.mark.parametrize("position", WITHIN, ids=lambda p: p.__name__)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("side", ["left", "right"])
def test_attention(position, causal, side):
    """Positions of distances alone do not mind on which side padding is."""
    assert_rows_alone(Attention(WIDTH, heads=2, position=position()), side, causal)


PARTS = {
    "grouped": {"kv_heads": 1},
    "window": {"window": 3},
    "softcap": {"softcap": 3.0},
    "log-n": {"log_n": 3},
    **{p.__name__: {"weights": p()} for p in members(spec.Weights)},
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_attention(name):
    assert_rows_alone(Attention(WIDTH, heads=2, position="rotary", **PARTS[name]), causal=False)


@pytest.mark.parametrize("placement", ["pre", "post", "double", "output", "parallel", "parallel-two"])
def test_blocks(placement):
    block = Block(WIDTH, mixer={"kind": "latent"}, position="rotary", placement=placement)
    assert_rows_alone(block, causal=False)


@pytest.mark.parametrize("position", members(spec.Position), ids=lambda p: p.__name__)
def test_encoders(position):
    model = Encoder(11, 8, layers=2, width=WIDTH, position=position(), norm=spec.LayerNorm()).double()
    model.compute = torch.float64
    sequences = [torch.randint(11, (n,)) for n in LENGTHS]
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    batch = torch.randint(11, mask.shape)
    for row, sequence in zip(batch, sequences, strict=True):
        row[: len(sequence)] = sequence
    together = model(batch, mask=mask)
    for i, sequence in enumerate(sequences):
        torch.testing.assert_close(together[i, mask[i]], model(sequence[None])[0], rtol=1e-9, atol=1e-10)


def test_documents_stay_apart_beside_padding():
    layer = Attention(WIDTH, heads=2).double()
    x, documents = torch.randn(1, 6, WIDTH, dtype=torch.float64), torch.tensor([[0, 0, 1, 1, 1, 1]])
    mask = torch.tensor([[True, True, True, True, False, False]])
    got = layer(x, AttentionMask(True, 0, documents.int()).padded(mask))
    torch.testing.assert_close(got[:, :4], layer(x[:, :4], AttentionMask(True, 0, documents[:, :4])))


def test_a_cache_takes_the_mask_of_all_positions():
    """Sequences of two lengths, padded on the left, written further one position at a time."""
    layer = Attention(WIDTH, heads=2, position="rotary").double()
    batch, mask = padded([torch.randn(n, WIDTH, dtype=torch.float64) for n in LENGTHS], "left")
    cache = layer.cache(len(LENGTHS), 7)
    parts = [layer(batch[:, :4], mask[:, :4], cache)]
    parts += [layer(batch[:, i : i + 1], mask[:, : i + 1], cache) for i in range(4, 7)]
    torch.testing.assert_close(torch.cat(parts, 1)[mask], layer(batch, mask=mask)[mask])


def test_true_is_text_as_in_pytorchs_attention():
    """And the opposite of ``nn.MultiheadAttention``'s ``key_padding_mask``."""
    theirs = nn.MultiheadAttention(WIDTH, 2, bias=False, batch_first=True).double()
    ours = Attention(WIDTH, heads=2).double()
    ours.qkv.weight.data.copy_(theirs.in_proj_weight)
    ours.out.weight.data.copy_(theirs.out_proj.weight)
    x, mask = padded([torch.randn(n, WIDTH, dtype=torch.float64) for n in LENGTHS])
    expected, _ = theirs(x, x, x, key_padding_mask=~mask)
    torch.testing.assert_close(ours(x, AttentionMask(False).padded(mask))[mask], expected[mask])


def test_what_cannot_be():
    x, mask = torch.randn(2, 4, WIDTH), torch.ones(2, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"mask is int64 of shape \(2, 4\); it must be bool"):
        Attention(WIDTH)(x, mask=mask.long())
    with pytest.raises(ValueError, match="it must be bool"):
        Attention(WIDTH)(x, mask=mask[0])
    with pytest.raises(ValueError, match="BatchNorm is a norm over positions and would count padding"):
        Block(WIDTH, norm="batch")(x, mask=mask)
    with pytest.raises(ValueError, match="InstanceNorm is a norm over positions"):
        Encoder(5, 4, layers=1, width=WIDTH, norm=spec.InstanceNorm())(mask.long(), mask=mask)
    for mixer in (LRU(WIDTH), VQAttention(WIDTH)):
        with pytest.raises(ValueError, match="padding"):
            Block(WIDTH, mixer=mixer)(x, mask=mask)
