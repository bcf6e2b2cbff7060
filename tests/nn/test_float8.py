"""Products in eight bits against the same computed in float64 of what the eight bits hold."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F

from danlu.nn import Linear, float8
from danlu.train.errors import RunError
from tests.train import small

HERE = pytest.mark.skipif(bool(float8.missing(torch.device("cpu"))), reason="this CPU multiplies no float8")


def held(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What eight bits hold of ``x``, emulated: the scale, and a cast of what was divided by it."""
    scale = x.abs().max() / torch.finfo(dtype).max
    return (x / scale).to(dtype).double() * scale.double()


@pytest.mark.parametrize(("dtype", "bound"), [(float8.E4M3, 2**-4), (float8.E5M2, 2**-3)])
def test_a_cast_is_off_by_half_a_step(dtype: torch.dtype, bound: float) -> None:
    """Three bits behind the leading one (e5m2: two): a normal number is off by 1/16 (1/8) of itself at most;
    the largest is kept."""
    x = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    q, scale = float8.cast(x, dtype)
    back = q.double() * scale.double()
    normal = x.abs() > torch.finfo(dtype).smallest_normal * scale
    assert float(((back - x) / x).abs()[normal].max()) <= bound
    assert float(back.abs().max()) == pytest.approx(float(x.abs().max()), rel=1e-6)
    zero, _ = float8.cast(torch.zeros(4, 4), dtype)
    assert torch.equal(zero.float(), torch.zeros(4, 4))


@HERE
def test_forward_and_backward_are_products_of_what_is_held() -> None:
    draw = torch.Generator().manual_seed(1)
    x, w, g = (torch.randn(*s, generator=draw) for s in ((3, 16, 32), (48, 32), (3, 16, 48)))
    x, w = x.requires_grad_(), w.requires_grad_()
    float8.linear(x, w).backward(g)
    a, b = held(x.detach().flatten(0, 1), float8.E4M3), held(w.detach(), float8.E4M3)
    e = held(g.flatten(0, 1), float8.E5M2)
    close = {"rtol": 1e-5, "atol": 1e-4}
    torch.testing.assert_close(float8.linear(x, w).detach().flatten(0, 1).double(), a @ b.T, **close)
    assert x.grad is not None and w.grad is not None
    torch.testing.assert_close(x.grad.flatten(0, 1).double(), e @ b, **close)
    torch.testing.assert_close(w.grad.double(), e.T @ a, **close)


def test_sizes_that_do_not_fit_are_multiplied_as_ever() -> None:
    linear = Linear(20, 16)
    x = torch.randn(5, 20)
    expected = linear(x)
    linear.float8 = True
    assert torch.equal(linear(x), expected) and torch.equal(expected, F.linear(x, linear.weight, linear.bias))


@pytest.mark.slow
@HERE
def test_a_run_learns_with_it(tmp_path: Path) -> None:
    words = ["optimizer=adamw", "optimizer.lr=1e-2", "train.steps=12", "train.log_every=1"]
    corpus = small.corpus(tmp_path)
    small.run(corpus, tmp_path / "eight", *words, "train.products=float8")
    small.run(corpus, tmp_path / "plain", *words)
    eight, plain = small.losses(tmp_path / "eight"), small.losses(tmp_path / "plain")
    assert eight != plain and eight[-1] < eight[0]
    small.close(eight, plain, 0.05)


def test_a_device_that_cannot_is_told(tmp_path: Path) -> None:
    said = r"train\.products = float8, and cpu cannot multiply in it: none; leave it out, or train on another"
    with patch.object(float8, "missing", lambda device: "none"), pytest.raises(RunError, match=said):
        small.run(small.corpus(tmp_path), tmp_path / "run", "train.steps=1", "train.products=float8")
