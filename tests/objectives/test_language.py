"""The loss against torch's cross-entropy, the z-loss against its derivative, bits against what is known."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.objectives import IGNORED, bits_per_byte, loss_sum, nats_sum, z_sum
from tests.objectives.fakes import Table

cases = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**31))


def example(batch, positions, vocabulary, seed):
    torch.manual_seed(seed)
    logits = torch.randn(batch, positions, vocabulary, dtype=torch.float64, requires_grad=True)
    return logits, torch.randint(vocabulary, (batch, positions))


@settings(max_examples=50, deadline=None)
@given(cases)
def test_the_sum_is_the_mean_times_the_count(case):
    logits, targets = example(*case)
    got = nats_sum(logits, targets)
    expected = F.cross_entropy(logits.transpose(1, 2), targets) * targets.numel()
    torch.testing.assert_close(got, expected)
    assert got.shape == ()
    (a,), (b,) = (torch.autograd.grad(loss, logits) for loss in (got, expected))
    torch.testing.assert_close(a, b)


@settings(max_examples=50, deadline=None)
@given(cases, st.floats(0, 1))
def test_ignored_targets_do_not_count(case, share):
    logits, targets = example(*case)
    counted = torch.rand(targets.shape) < share
    targets = targets.masked_fill(~counted, IGNORED)
    got = nats_sum(logits, targets) + z_sum(logits, targets)
    each = -logits.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    torch.testing.assert_close(got, (each + logits.logsumexp(-1) ** 2)[counted].sum())
    (gradient,) = torch.autograd.grad(got, logits)
    assert (gradient[~counted] == 0).all()


def test_a_batch_in_parts_is_the_batch():
    """The sum of the parts' sums: no part counts more for having fewer tokens."""
    logits, targets = example(4, 6, 7, 0)
    targets = targets.masked_fill(torch.rand(4, 6) < 0.5, IGNORED)
    parts = [nats_sum(logits[rows], targets[rows]) for rows in (slice(0, 1), slice(1, 4))]
    torch.testing.assert_close(sum(parts), nats_sum(logits, targets))


def test_nothing_predicted_is_nothing():
    logits, _ = example(2, 3, 5, 0)
    targets = torch.full((2, 3), IGNORED)
    loss = nats_sum(logits, targets) + z_sum(logits, targets)
    loss.backward()
    assert loss == 0
    assert (logits.grad == 0).all()


@settings(max_examples=20, deadline=None)
@given(cases)
def test_the_gradient_of_the_z_loss(case):
    """d/dz (ln Σe^z)² = 2 · ln Σe^z · softmax(z)."""
    logits, targets = example(*case)
    (gradient,) = torch.autograd.grad(z_sum(logits, targets), logits)
    expected = 2 * logits.logsumexp(-1, keepdim=True) * logits.softmax(-1)
    torch.testing.assert_close(gradient, expected)


def test_the_z_loss_by_differences():
    logits, targets = example(2, 3, 4, 0)
    targets[0, 1] = IGNORED
    assert torch.autograd.gradcheck(lambda z: z_sum(z, targets), (logits,))


def test_logarithms_of_probabilities_have_no_z_loss():
    logits, targets = example(2, 3, 4, 0)
    assert z_sum(logits.log_softmax(-1), targets).item() == pytest.approx(0, abs=1e-25)
    assert z_sum(logits.log_softmax(-1) + 3, targets).item() == pytest.approx(6 * 9, rel=1e-12)


@pytest.mark.parametrize("vocabulary", [2, 27, 256, 50257])
def test_a_uniform_model_of_bytes_needs_the_logarithm_of_their_number(vocabulary):
    targets = torch.randint(vocabulary, (2, 10))
    model = Table(2, 10, vocabulary)
    torch.nn.init.constant_(model.logits, 3.0)
    nats = loss_sum(model, targets, targets).item()
    assert bits_per_byte(nats, 20) == pytest.approx(math.log2(vocabulary), rel=1e-12)
    assert bits_per_byte(nats, 60) == pytest.approx(math.log2(vocabulary) / 3, rel=1e-12)  # tokens of three


def test_bits_of_a_byte():
    assert bits_per_byte(8 * math.log(2), 1) == pytest.approx(8, rel=1e-15)
    assert bits_per_byte(0.0, 5) == 0
