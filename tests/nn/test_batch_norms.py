"""Norms over positions against PyTorch's: values, gradients and running averages; folding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.nn import Linear
from danlu.nn.norms import BatchNorm, InstanceNorm, fold
from tests.nn.compare import as_torchs, assert_same, assert_same_to_torch, randomised, value_and_gradients


def features_second(module):
    """PyTorch's layout, (batch, features, positions), for ours, (batch, positions, features)."""
    return lambda x: module(x.transpose(1, 2)).transpose(1, 2)


@pytest.mark.parametrize("affine", [False, True])
def test_instance_norm_is_torchs(affine):
    ours = InstanceNorm(6, eps=1e-4, gain=affine, bias=affine)
    theirs = torch.nn.InstanceNorm1d(6, eps=1e-4, affine=affine)
    x = torch.randn(3, 5, 6, dtype=torch.float64)
    assert_same_to_torch(*as_torchs(ours, theirs), features_second, x)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(2, 6),
    st.integers(1, 9),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_batch_norm_is_torchs(batch, positions, width, momentum, affine, seed):
    """Three batches in training, then evaluation: values, gradients and both running averages."""
    torch.manual_seed(seed)
    ours, theirs = as_torchs(
        BatchNorm(width, eps=1e-4, momentum=momentum, gain=affine, bias=affine),
        torch.nn.BatchNorm1d(width, eps=1e-4, momentum=momentum, affine=affine),
    )
    for _ in range(3):
        x = 2 + 3 * torch.randn(batch, positions, width, dtype=torch.float64)
        got = value_and_gradients(ours, x)
        expected = value_and_gradients(features_second(theirs), x)
        assert_same(got[:1], expected[:1], rtol=1e-12, atol=1e-11)
        assert_same(got[1:], expected[1:], rtol=1e-8, atol=1e-9)
        torch.testing.assert_close(ours.mean, theirs.running_mean, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(ours.variance, theirs.running_var, rtol=1e-12, atol=1e-12)
    ours.eval(), theirs.eval()
    before = ours.mean.clone()
    assert_same_to_torch(ours, theirs, features_second, x)
    assert torch.equal(ours.mean, before)


def test_batch_norm_of_a_single_row_is_refused():
    with pytest.raises(ValueError, match="needs two rows or more; the batch has 1"):
        BatchNorm(4)(torch.randn(1, 1, 4))
    assert torch.equal(BatchNorm(4, eps=1e-30).eval()(torch.ones(1, 1, 4)), torch.ones(1, 1, 4))


def test_batch_norm_keeps_its_averages_in_float32_and_in_the_state():
    norm = BatchNorm(4)
    y = norm(torch.randn(8, 3, 4).bfloat16())
    assert y.dtype == torch.bfloat16
    assert set(norm.state_dict()) == {"gain", "bias", "mean", "variance"}
    assert norm.mean.dtype == norm.variance.dtype == torch.float32
    assert not norm.mean.requires_grad


def test_the_gap_between_training_and_evaluation():
    """In training a sequence depends on the others of its batch, in evaluation it does not; and the gap
    between the two closes as the running averages reach the moments of the data, by (1 − momentum)ⁿ."""
    norm = BatchNorm(4, momentum=0.5).double()
    x = 5 + 2 * torch.randn(6, 7, 4, dtype=torch.float64)
    assert (norm(x)[:2] - norm(x[:2])).abs().max() > 1e-2
    norm.eval()
    torch.testing.assert_close(norm(x)[:2], norm(x[:2]), rtol=0, atol=0)

    norm = BatchNorm(4, momentum=0.5).double()
    for n in range(1, 41):
        norm.train()(x)
        left = x.mean((0, 1)) - norm.mean
        torch.testing.assert_close(left, x.mean((0, 1)) * 0.5**n, rtol=1e-9, atol=1e-11)
    trained, rows = norm(x), 6 * 7
    evaluated = norm.eval()(x)
    # What is left is the unbiased variance in place of the biased one: a factor √(rows/(rows − 1)).
    torch.testing.assert_close(trained, evaluated * (rows / (rows - 1)) ** 0.5, rtol=1e-5, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 7),
    st.integers(1, 7),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_folding_is_exact(inputs, width, gain, bias, linear_bias, seed):
    torch.manual_seed(seed)
    norm = randomised(BatchNorm(width, gain=gain, bias=bias)).double()
    torch.nn.init.normal_(norm.mean)
    torch.nn.init.uniform_(norm.variance, 0.1, 4)
    linear = torch.nn.Linear(inputs, width, bias=linear_bias, dtype=torch.float64)
    x = torch.randn(3, 2, inputs, dtype=torch.float64)
    before = [p.clone() for p in (*linear.parameters(), *norm.state_dict().values())]
    folded = fold(norm.eval(), linear)
    torch.testing.assert_close(folded(x), norm(linear(x)), rtol=1e-12, atol=1e-12)
    after = [*linear.parameters(), *norm.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_folding_in_training_or_into_another_size_is_refused():
    with pytest.raises(ValueError, match="in training"):
        fold(BatchNorm(4), Linear(3, 4))
    with pytest.raises(ValueError, match="5 outputs, the norm 4"):
        fold(BatchNorm(4).eval(), Linear(3, 5))
