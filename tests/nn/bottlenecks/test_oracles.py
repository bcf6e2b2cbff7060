"""Quantisers against vector-quantize-pytorch (Phil Wang), where it is installed."""

from __future__ import annotations

import pytest
import torch

from danlu.nn.bottlenecks import FSQ, LFQ, VQ, rotated

theirs = pytest.importorskip("vector_quantize_pytorch")


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (8, 6, 5), (3, 4, 7)])
def test_fsq(levels):
    """Values, codes and gradients."""
    x = 2 * torch.randn(4, 50, len(levels), dtype=torch.float64)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected, codes = theirs.FSQ(list(levels)).double()(a)
    out = FSQ(levels=levels)(b)
    torch.testing.assert_close(out.value, expected)
    assert torch.equal(out.codes[..., 0], codes.long())
    weights = torch.randn_like(x)
    (expected,) = torch.autograd.grad((expected * weights).sum(), a)
    torch.testing.assert_close(torch.autograd.grad((out.value * weights).sum(), b)[0], expected)
    every = torch.arange(out.codes.max() + 1)
    assert torch.equal(
        FSQ(levels=levels).look_up(every[:, None]), theirs.FSQ(list(levels)).indices_to_codes(every)
    )


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_lfq(temperature):
    """Values, codes and penalty. Theirs takes the commitment as a mean over bits, and cuts logarithms of
    probabilities below 10⁻⁵, which no code here has."""
    x = 0.3 * torch.randn(4, 50, 4)
    made = LFQ(size=4, entropy=0.2, diversity=0.7, temperature=temperature, commitment=0.25)
    other = theirs.LFQ(dim=4, entropy_loss_weight=0.2, diversity_gamma=0.7, commitment_loss_weight=0.25 * 4)
    expected = other(x, inv_temperature=1 / temperature)
    out = made(x)
    torch.testing.assert_close(out.value, expected.quantized)
    assert torch.equal(out.codes[..., 0], expected.indices.long())
    torch.testing.assert_close(out.penalty, expected.entropy_aux_loss, rtol=1e-3, atol=1e-4)


def test_averages_of_codes():
    """Words after each of 30 updates; theirs are moved within the forward pass, after the values."""
    other = theirs.VectorQuantize(
        dim=3, codebook_size=6, decay=0.9, eps=1e-4, commitment_weight=0.25 * 3, threshold_ema_dead_code=0,
        rotation_trick=False,
    )  # fmt: skip
    made = VQ(size=3, codes=6, decay=0.9, smoothing=1e-4, restart=0.0)
    made.words.copy_(other.codebook)
    made.sums.copy_(made.words)
    for _ in range(30):
        x = torch.randn(2, 40, 3)
        expected, codes, penalty = other(x)
        out = made(x)
        made.after_update()
        torch.testing.assert_close(out.value, expected)
        assert torch.equal(out.codes[..., 0], codes)
        torch.testing.assert_close(out.penalty, penalty.squeeze())
        torch.testing.assert_close(made.words, other.codebook, rtol=1e-5, atol=1e-5)


def test_rotation():
    from vector_quantize_pytorch.vector_quantize_pytorch import rotate_to

    z, value = torch.randn(2, 60, 5, dtype=torch.float64)
    a, b = z.clone().requires_grad_(), z.clone().requires_grad_()
    weights = torch.randn_like(z)
    (expected,) = torch.autograd.grad((rotate_to(a, value) * weights).sum(), a)
    torch.testing.assert_close(torch.autograd.grad((rotated(value, b) * weights).sum(), b)[0], expected)
