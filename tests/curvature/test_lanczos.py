"""Eigenvalues by Lanczos, against those of the whole matrix."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from danlu.curvature import Lanczos, density, top


def symmetric(size: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    matrix = torch.randn(size, size, dtype=torch.float64, generator=draw)
    return (matrix + matrix.T) / 2


@pytest.mark.parametrize("steps", [1, 3, 6])
def test_moments(steps: int) -> None:
    """Σ w·node^k = vᵀH^k v for k ≤ 2m − 1, and not for 2m."""
    matrix = symmetric(20)
    v = torch.randn(20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    process = Lanczos(lambda x: matrix @ x, v)
    process.extend(steps)
    nodes, inside = process.ritz()
    v = v / v.norm()
    for k in range(2 * steps + 1):
        wanted = v @ torch.linalg.matrix_power(matrix, k) @ v
        found = (inside[0].square() * nodes.pow(k)).sum()
        assert (abs(found - wanted) < 1e-9 * max(1, abs(wanted))) == (k < 2 * steps), k


def test_all_steps_give_all_eigenvalues() -> None:
    matrix = symmetric(12)
    process = Lanczos(lambda x: matrix @ x, torch.ones(12, dtype=torch.float64))
    process.extend(50)
    assert process.exhausted
    nodes, _ = process.ritz()
    torch.testing.assert_close(nodes, torch.linalg.eigvalsh(matrix), rtol=1e-10, atol=1e-10)
    vector = process.vector(-1)
    torch.testing.assert_close(matrix @ vector, nodes[-1] * vector, rtol=1e-8, atol=1e-8)


def test_no_eigenvalue_comes_back() -> None:
    """What rounding does without orthogonalising twice: one large eigenvalue is found again and again."""
    values = torch.cat([torch.linspace(0, 1, 199, dtype=torch.float64), torch.tensor([1e6]).double()])
    process = Lanczos(lambda x: values * x, torch.ones(200, dtype=torch.float64))
    process.extend(80)
    nodes, _ = process.ritz()
    assert int((nodes > 1e5).sum()) == 1
    basis = torch.stack(process.vectors)
    assert float((basis @ basis.T - torch.eye(len(basis)).double()).abs().max()) < 1e-12


def test_a_multiple_eigenvalue_ends_it() -> None:
    values = torch.tensor([2.0, 2.0, 2.0, 5.0], dtype=torch.float64)
    found = top(lambda x: values * x, values, 3, generator=torch.Generator().manual_seed(0))
    assert found.values == pytest.approx((5.0, 2.0)) and found.steps == 2


def test_the_largest_eigenvalues() -> None:
    matrix = symmetric(60)
    wanted = torch.linalg.eigvalsh(matrix)
    found = top(
        lambda x: matrix @ x, matrix[0], 3, tolerance=1e-6, generator=torch.Generator().manual_seed(0)
    )
    for value, bound, true in zip(found.values, found.bounds, wanted.flip(0)[:3].tolist(), strict=True):
        assert abs(value - true) <= bound + 1e-12 and bound <= 1e-6 * float(wanted.abs().max())
    assert found.lowest >= wanted[0] - 1e-12


def test_density() -> None:
    """Its mean power is that of the eigenvalues, within 5 standard errors of the probes; its area is 1."""
    matrix = symmetric(40)
    spectrum = density(
        lambda x: matrix @ x, matrix[0], probes=60, steps=5, generator=torch.Generator().manual_seed(0)
    )
    for k in (1, 2):
        wanted = float(torch.linalg.matrix_power(matrix, k).trace()) / 40
        each = torch.stack(
            [(w * x.pow(k)).sum() for x, w in zip(spectrum.nodes, spectrum.weights, strict=True)]
        )
        assert spectrum.moment(k) == pytest.approx(float(each.mean()))
        assert abs(spectrum.moment(k) - wanted) < 5 * float(each.std()) / 60**0.5
    points = torch.linspace(-40, 40, 4001).tolist()
    assert sum(spectrum.smoothed(points, 0.5)) * 80 / 4000 == pytest.approx(1, abs=1e-6)
    assert spectrum.share_below(-100) == 0 and spectrum.share_below(100) == pytest.approx(1)
