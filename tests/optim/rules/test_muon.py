"""Muon against torch.optim.Muon, and its orthogonalisation against its definition."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.optim._muon import _zeropower_via_newtonschulz as torchs_orthogonalise
from torch.utils.flop_counter import FlopCounterMode

from danlu.optim import Muon, orthogonalise

SHAPES = [(16, 16), (16, 48), (48, 16), (16, 48), (1, 7), (7, 1), (64, 8)]
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
BF16 = 2.0**-8  # rounding to bfloat16 changes a number by at most this share
NOISE = 2**0.5 * 0.03  # between two iterations in bfloat16


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_orthogonalise_is_torchs(shape, steps):
    """Each is within 3 % of the exact polynomial in bfloat16 (the norm that they start from may round by one
    part in 2⁸, which the iteration carries on; the map of a singular value has a slope of up to 3.4⁵, yet
    flattens where it matters), so that they differ by √2·3 %."""
    for _ in range(5):
        matrix = torch.randn(shape)
        expected = torchs_orthogonalise(matrix, COEFFICIENTS, steps, 1e-7).float()
        got = orthogonalise(matrix[None], steps)[0]
        assert (got - expected).norm() <= NOISE * expected.norm()


def iterated(matrix, steps=5):
    """The definition on singular values, exact in float64: s ← a·s + b·s³ + c·s⁵ from s/(‖s‖ + 10⁻⁷)."""
    a, b, c = COEFFICIENTS
    u, s, vt = torch.linalg.svd(matrix.double(), full_matrices=False)
    s = s / (s.norm() + 1e-7)
    for _ in range(steps):
        s = a * s + b * s**3 + c * s**5
    return u @ s.diag() @ vt


@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16)])
def test_orthogonalise_is_the_polynomial_of_the_singular_values(shape):
    """Up to bfloat16's rounding in fifteen products: √15·2⁻⁸ ≈ 1.5 %, amplified by small singular values."""
    matrix = torch.randn(shape)
    exact = iterated(matrix)
    assert (orthogonalise(matrix[None])[0] - exact).norm() <= 0.08 * exact.norm()


@pytest.mark.parametrize("shape", [(24, 24), (16, 32), (16, 40), (40, 16), (8, 64), (1, 9)])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_in_higher_precision_it_is_exact(shape, steps, dtype, bound):
    """Also through the Gram matrix."""
    matrix = torch.randn(shape, dtype=dtype)
    exact = iterated(matrix, steps)
    got = orthogonalise(matrix[None], steps, dtype=dtype)[0]
    assert got.dtype == dtype
    assert (got - exact).norm() <= bound * exact.norm()


@pytest.mark.parametrize("rank", [4, 16])
def test_the_gram_iteration_is_no_worse_where_singular_values_are_small(rank):
    """One of 1 % beside ``rank`` large ones, as momentum has them: the plain iteration in bfloat16 is off by
    a fifth and more; without G taken anew this one would be off by ten times the result."""
    matrix = torch.randn(64, rank) @ torch.randn(rank, 256) + 0.01 * torch.randn(64, 256)
    exact = iterated(matrix)
    plain = torchs_orthogonalise(matrix, COEFFICIENTS, 5, 1e-7).float()
    got = orthogonalise(matrix[None])[0]
    assert (got - exact).norm() <= 1.1 * (plain - exact).norm()


def products(function, *arguments):
    with FlopCounterMode(display=False) as counter:
        function(*arguments)
    return counter.get_total_flops()


@pytest.mark.parametrize(("shape", "saved"), [((128, 512), 0.33), ((384, 128), 0.25), ((96, 96), 0.0)])
def test_fewer_operations(shape, saved):
    """Short side m, long side n: 5(4m²n + 2m³), or 14·2m³ + 2·4m²n through the Gram matrix."""
    m, n = sorted(shape)
    plain = products(torchs_orthogonalise, torch.randn(shape), COEFFICIENTS, 5, 1e-7)
    ours = products(orthogonalise, torch.randn(1, *shape))
    assert plain == 5 * (4 * m * m * n + 2 * m**3)
    assert ours == (plain if n <= 2 * m else 28 * m**3 + 8 * m * m * n)
    assert ours <= (1 - saved) * plain


@pytest.mark.parametrize("shape", [(32, 64), (64, 32), (20, 100), (100, 20)])
def test_singular_values_come_near_one(shape):
    matrices = torch.randn(8, *shape) * torch.logspace(-6, 6, 8)[:, None, None]
    result = orthogonalise(matrices)
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.6
    assert values.max() < 1.3
    # and the directions are those of the matrix: U Vᵀ is the nearest orthogonal matrix
    u, _, vt = torch.linalg.svd(matrices.double(), full_matrices=False)
    aligned = (u.mT @ result.double() @ vt.mT).diagonal(dim1=1, dim2=2)
    assert aligned.min() > 0.6


@pytest.mark.parametrize("shape", [(5, 9), (9, 5)])
def test_a_transposed_matrix_gives_the_transposed_result(shape):
    matrices = torch.randn(3, *shape)
    assert torch.equal(orthogonalise(matrices.mT.contiguous()), orthogonalise(matrices).mT)


@pytest.mark.parametrize("shape", [(1, 9), (9, 1)])
def test_a_vector_only_gets_a_length(shape):
    """One singular value: s/‖s‖ = 1 five times through the polynomial."""
    vector = torch.randn(1, *shape)
    expected = iterated(vector[0])
    assert (orthogonalise(vector)[0] - expected).norm() <= 0.05 * expected.norm()


def test_a_zero_matrix_stays():
    assert (orthogonalise(torch.zeros(2, 4, 6)) == 0).all()


def test_a_batch_is_one_at_a_time():
    matrices = torch.randn(6, 24, 40)
    alone = torch.cat([orthogonalise(m[None]) for m in matrices])
    torch.testing.assert_close(orthogonalise(matrices), alone, rtol=2 * BF16, atol=2 * BF16)


def parameters(dtype=torch.float32):
    return [torch.nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in SHAPES]


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("momentum", [0.0, 0.95])
@pytest.mark.parametrize(("scale", "theirs_called"), [("spectral", "original"), ("rms", "match_rms_adamw")])
def test_muon_is_torchs(momentum, decay, scale, theirs_called):
    """torch averages the gradients (× 1 − μ) where we sum them, which an orthogonal update cannot tell.

    Each of ten updates may differ as in ``test_orthogonalise_is_torchs``.
    """
    ours = parameters()
    theirs = copy.deepcopy(ours)
    start = copy.deepcopy(ours)
    settings = {"lr": 0.03, "momentum": momentum, "weight_decay": decay}
    pair = [
        Muon(ours, scale=scale, **settings),
        torch.optim.Muon(theirs, nesterov=True, adjust_lr_fn=theirs_called, **settings),
    ]
    for step in range(10):
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            gradient = torch.randn_like(a)
            a.grad, b.grad = (None, None) if i == 3 and step < 4 else (gradient, gradient.clone())
        for optimizer in pair:
            optimizer.step()
    for a, b, before in zip(ours, theirs, start, strict=True):
        assert (a - b).norm() <= NOISE * (b - before).norm()


@pytest.mark.parametrize(
    ("scale", "size"),
    [("spectral", lambda r, c: max(1, r / c) ** 0.5), ("rms", lambda r, c: 0.2 * max(r, c) ** 0.5)],
)
def test_the_update_is_its_formula(scale, size):
    """θ ← (1 − ηλ)θ − η·s·NS(g + μB), with B ← μB + g, one matrix at a time; s as its author or Moonlight's
    report (equation 4) has it."""
    params = parameters(torch.float64)
    start = [p.detach().clone() for p in params]
    weights = list(start)
    buffers = [torch.zeros_like(p) for p in params]
    optimizer = Muon(params, lr=0.1, momentum=0.8, weight_decay=0.2, scale=scale)
    for _ in range(3):
        for i, p in enumerate(params):
            p.grad = torch.randn_like(p)
            buffers[i] = 0.8 * buffers[i] + p.grad
            update = orthogonalise((p.grad + 0.8 * buffers[i])[None])[0]
            weights[i] = (1 - 0.1 * 0.2) * weights[i] - 0.1 * size(*p.shape) * update
        optimizer.step()
    for p, before, expected, buffer in zip(params, start, weights, buffers, strict=True):
        # A batch of products may round differently than one.
        assert (p - expected).norm() <= 0.01 * (expected - before).norm()
        torch.testing.assert_close(optimizer.state[p]["momentum"], buffer, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(5,), (), (2, 3, 4)])
def test_only_matrices(shape):
    with pytest.raises(ValueError, match="matrices"):
        Muon([torch.nn.Parameter(torch.randn(shape))])


def test_state_is_one_buffer():
    (p,) = [torch.nn.Parameter(torch.randn(8, 4))]
    optimizer = Muon([p])
    optimizer.prepare()
    assert [t.shape for t in optimizer.state[p].values()] == [p.shape]


def test_no_gradient_no_change():
    one, other = (torch.nn.Parameter(torch.randn(4, 4)) for _ in range(2))
    before = one.detach().clone()
    other.grad = torch.randn(4, 4)
    optimizer = Muon([one, other], weight_decay=0.5)
    optimizer.step()
    assert torch.equal(one, before)
    assert one not in optimizer.state or not optimizer.state[one]


@pytest.mark.parametrize("shape", [(64, 64), (32, 96), (96, 32)])
def test_scaled_by_rms_the_update_has_adamws_size(shape):
    """Singular values of about 0.9 (0.7 to 1.2) give elements an RMS of 0.2·√(max·min/(rows·columns))·0.9."""
    p = torch.nn.Parameter(torch.zeros(shape))
    p.grad = torch.randn(shape)
    Muon([p], lr=1.0, scale="rms").step()
    assert 0.2 * 0.7 < p.square().mean().sqrt() < 0.2 * 1.2
