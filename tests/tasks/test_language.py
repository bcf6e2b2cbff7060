"""The loss against torch's cross-entropy, and bits per byte against what is known."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.tasks import bits_per_byte, loss_sum


class Table(torch.nn.Module):
    """Logits that do not depend on the tokens, and a note of what came with them."""

    def __init__(self, batch, positions, vocabulary):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.randn(batch, positions, vocabulary, dtype=torch.float64))
        self.documents = None

    def forward(self, tokens, *, documents=None):
        self.documents = documents
        return self.logits


cases = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**31))


def example(batch, positions, vocabulary, seed):
    torch.manual_seed(seed)
    ids = torch.randint(vocabulary, (batch, positions))
    return Table(batch, positions, vocabulary), ids


@settings(max_examples=50, deadline=None)
@given(cases)
def test_the_sum_is_the_mean_times_the_count(case):
    model, targets = example(*case)
    got = loss_sum(model, targets, targets)
    expected = F.cross_entropy(model.logits.transpose(1, 2), targets) * targets.numel()
    torch.testing.assert_close(got, expected)
    assert got.shape == ()
    (a,), (b,) = (torch.autograd.grad(loss, model.logits) for loss in (got, expected))
    torch.testing.assert_close(a, b)


@settings(max_examples=50, deadline=None)
@given(cases, st.floats(0, 1))
def test_a_mask_chooses_the_targets_that_count(case, share):
    model, targets = example(*case)
    mask = torch.rand(targets.shape) < share
    got = loss_sum(model, targets, targets, mask=mask)
    each = F.cross_entropy(model.logits.transpose(1, 2), targets, reduction="none")
    torch.testing.assert_close(got, each[mask].sum())
    (gradient,) = torch.autograd.grad(got, model.logits)
    assert (gradient[~mask] == 0).all()


def test_a_batch_in_parts_is_the_batch():
    """The sum of the parts' sums: no part counts more for having fewer tokens."""
    model, targets = example(4, 6, 7, 0)
    mask = torch.rand(4, 6) < 0.5
    whole = loss_sum(model, targets, targets, mask=mask)

    def part(rows):
        class Rows(torch.nn.Module):
            def forward(self, tokens, *, documents=None):
                return model.logits[rows]

        return loss_sum(Rows(), targets[rows], targets[rows], mask=mask[rows])

    torch.testing.assert_close(part(slice(0, 1)) + part(slice(1, 4)), whole)


def test_nothing_masked_in_is_nothing():
    model, targets = example(2, 3, 5, 0)
    loss = loss_sum(model, targets, targets, mask=torch.zeros(2, 3, dtype=torch.bool))
    loss.backward()
    assert loss == 0
    assert (model.logits.grad == 0).all()


def test_documents_reach_the_model():
    model, targets = example(2, 3, 5, 0)
    documents = torch.zeros(2, 3, dtype=torch.int64)
    loss_sum(model, targets, targets, documents=documents)
    assert model.documents is documents
    loss_sum(model, targets, targets)
    assert model.documents is None


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
