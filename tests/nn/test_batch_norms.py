"""Norms over positions against PyTorch's: values, gradients and running averages; folding."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.nn import Linear, fold, fold_before
from danlu.nn.norms import BatchNorm, InstanceNorm
from tests.conftest import LIMIT, ROOT
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


def running(width: int, norm=None):
    """A batch norm in evaluation whose gains, some below zero, biases and averages are no round numbers."""
    norm = torch.nn.BatchNorm2d(width) if norm is None else norm
    numbers = dict(norm.named_parameters()) | dict(norm.named_buffers())
    for name, tensor in numbers.items():
        if "variance" in name or "var" in name:
            torch.nn.init.uniform_(tensor, 0.1, 4)
        elif tensor.is_floating_point():
            torch.nn.init.normal_(tensor)
    gain = numbers.get("gain", numbers.get("weight"))
    gain.data[0] = -gain.data[0].abs()
    return norm.double().eval()


def test_folding_is_pytorchs():
    """``fuse_conv_bn_eval`` for a 1 × 1 convolution, which is a linear map of the channels."""
    theirs, conv = running(5), torch.nn.Conv2d(3, 5, 1).double().eval()
    ours, linear = BatchNorm(5).double().eval(), Linear(3, 5).double()
    pairs = (ours.gain, theirs.weight), (ours.bias, theirs.bias), (linear.bias, conv.bias)
    moments = (ours.mean, theirs.running_mean), (ours.variance, theirs.running_var)
    for mine, other in (*pairs, *moments, (linear.weight, conv.weight[..., 0, 0])):
        mine.data.copy_(other)
    expected = torch.nn.utils.fusion.fuse_conv_bn_eval(conv, theirs)
    got = fold(ours, linear)
    torch.testing.assert_close(got.weight, expected.weight[..., 0, 0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(got.bias, expected.bias, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [False, True])
def test_folding_into_the_map_after_it_is_exact(bias):
    norm, linear = running(4, BatchNorm(4)), torch.nn.Linear(4, 3, bias=bias).double()
    x = torch.randn(2, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(fold_before(norm, linear)(x), linear(norm(x)), rtol=1e-12, atol=1e-12)


CONVOLUTIONS = [
    {"kernel_size": 3},
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": (3, 5), "padding": (1, 2), "stride": 2, "groups": 2},
    {"kernel_size": 3, "padding": 2, "dilation": 2, "bias": False},
]


@pytest.mark.parametrize("settings", CONVOLUTIONS)
def test_folding_before_a_convolution(settings):
    """Exact at the borders too, which are padded with μ − b/s in place of zeros."""
    norm, conv = running(4), torch.nn.Conv2d(4, 6, **settings).double()
    x = torch.randn(2, 4, 7, 8, dtype=torch.float64)
    torch.testing.assert_close(fold_before(norm, conv)(x), conv(norm(x)), rtol=1e-12, atol=1e-12)


def test_the_padding_trap():
    """With zeros around the folded map's input the inside is right, and the border is not."""
    norm, conv = running(4), torch.nn.Conv2d(4, 6, 3, padding=1).double()
    x = torch.randn(2, 4, 7, 8, dtype=torch.float64)
    _, naive = fold_before(norm, conv)
    naive.padding = (1, 1)
    off = (naive(x) - conv(norm(x))).abs()
    assert off[..., 1:-1, 1:-1].max() < 1e-12
    assert off[..., 0, :].mean() > 0.1 and off[..., -1].mean() > 0.1


def test_a_padded_convolution_that_cannot_be_folded_is_refused():
    norm = running(4)
    for conv, said in (
        (torch.nn.Conv2d(4, 6, 3, padding="same"), "padding = 'same' of mode zeros is not folded"),
        (torch.nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), "of mode reflect is not folded"),
        (torch.nn.Conv2d(3, 6, 3), "the layer has 3 inputs, the norm 4"),
    ):
        with pytest.raises(ValueError, match=said):
            fold_before(norm, conv)
    norm.weight.data[1] = 0.0
    with pytest.raises(ValueError, match="gives a channel a constant"):
        fold_before(norm, torch.nn.Conv2d(4, 6, 3, padding=1))
    with pytest.raises(ValueError, match="without running averages"):
        fold_before(torch.nn.BatchNorm2d(4, track_running_stats=False).eval(), torch.nn.Conv2d(4, 6, 3))


@pytest.mark.parametrize("rows", [2, 7])
def test_the_loss_does_not_feel_the_size_of_a_map_before_it(rows):
    """⟨∂L/∂W, W⟩ = 0 for any loss, since the norm of αWx does not depend on α > 0, up to ε: in float64 and
    with ε = 1e-12 a share of 1e-9 of ‖∂L/∂W‖ ‖W‖."""
    linear, norm = torch.nn.Linear(5, 6, bias=False).double(), BatchNorm(6, eps=1e-12).double()
    x, target = torch.randn(rows, 3, 5), torch.randn(rows, 3, 6)
    (norm(linear(x.double())).tanh() - target).square().sum().backward()
    weight, grad = linear.weight.detach(), linear.weight.grad
    assert (grad * weight).sum().abs() < 1e-9 * grad.norm() * weight.norm()


def test_folding_in_training_or_into_another_size_is_refused():
    with pytest.raises(ValueError, match="in training"):
        fold(BatchNorm(4), Linear(3, 4))
    with pytest.raises(ValueError, match="5 outputs, the norm 4"):
        fold(BatchNorm(4).eval(), Linear(3, 5))


def test_frozen_statistics_stay():
    """Training is evaluation: values, gradients, and the averages as they were."""
    norm = running(4, BatchNorm(4, statistics="frozen"))
    x = torch.randn(3, 5, 4, dtype=torch.float64)
    expected = value_and_gradients(norm, x)
    before = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    assert_same(value_and_gradients(norm.train(), x), expected, rtol=0, atol=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in norm.state_dict().items())
    assert norm(torch.randn(1, 1, 4)).isfinite().all()


def test_synchronised_alone_is_of_the_batch(tmp_path):
    """Where there is one process, in a group or in none."""
    x = torch.randn(3, 5, 4, dtype=torch.float64)
    for group in (False, True):
        if group:
            store = f"file://{tmp_path / 'store'}"
            torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
        try:
            ours, own = (running(4, BatchNorm(4, statistics=of)) for of in ("synchronised", "batch"))
            own.load_state_dict(ours.state_dict())
            got, expected = (value_and_gradients(norm.train(), x) for norm in (ours, own))
            assert_same(got, expected, rtol=1e-10, atol=1e-11)
            torch.testing.assert_close(ours.variance, own.variance, rtol=1e-12, atol=1e-12)
        finally:
            if group:
                torch.distributed.destroy_process_group()


ROWS = (3, 5)  # of the two processes
SHARED = """
import sys
import torch
from danlu.nn import BatchNorm
rank, store, file = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
given = torch.load(file)
norm = BatchNorm(4, statistics="synchronised").double()
norm.load_state_dict(given["norm"])
x = given["x"].split(given["rows"])[rank].requires_grad_()
y = norm(x)
(y * given["weights"].split(given["rows"])[rank]).sum().backward()
found = {"y": y.detach(), "x": x.grad, "gain": norm.gain.grad, "mean": norm.mean, "variance": norm.variance}
torch.save(found, f"{file}.{rank}")
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_are_one(tmp_path):
    """Of 3 and 5 sequences: values, gradients of the input and running averages of one process with all 8."""
    norm = running(4, BatchNorm(4)).train()
    x, weights = torch.randn(2, sum(ROWS), 6, 4, dtype=torch.float64)
    file = tmp_path / "given.pt"
    torch.save({"norm": norm.state_dict(), "x": x, "weights": weights, "rows": list(ROWS)}, file)
    program = [sys.executable, "-c", SHARED]
    rest = [str(tmp_path / "store"), str(file)]
    running_both = [subprocess.Popen([*program, str(rank), *rest], cwd=ROOT) for rank in (0, 1)]
    assert [process.wait(LIMIT) for process in running_both] == [0, 0]
    first, second = (torch.load(f"{file}.{rank}") for rank in (0, 1))
    x.requires_grad_()
    y = norm(x)
    (y * weights).sum().backward()
    same = {"rtol": 1e-10, "atol": 1e-11}
    torch.testing.assert_close(torch.cat([first["y"], second["y"]]), y.detach(), **same)
    torch.testing.assert_close(torch.cat([first["x"], second["x"]]), x.grad, **same)
    torch.testing.assert_close(first["gain"] + second["gain"], norm.gain.grad, **same)
    for found in (first, second):
        torch.testing.assert_close(found["mean"], norm.mean, **same)
        torch.testing.assert_close(found["variance"], norm.variance, **same)
