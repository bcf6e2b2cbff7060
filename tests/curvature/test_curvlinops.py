"""curvlinops, where it is installed: forward over reverse by ``torch.func``, its own Lanczos and traces."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn as nn
from torch import Tensor

from danlu.curvature import (
    GaussNewton,
    Hessian,
    Outputs,
    density,
    flatten,
    gradient_of,
    hutchinson,
    noise_of,
    signs,
    top,
)
from danlu.curvature.lanczos import gaussian

pytestmark = pytest.mark.slow  # the import and torch.func's first Hessian take seconds

N = 12
X = torch.randn(N, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
CLASSES = torch.arange(N) % 3
NUMBERS = torch.randn(N, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
LOSSES: dict[str, tuple[type[nn.Module], Tensor]] = {
    "cross-entropy": (nn.CrossEntropyLoss, CLASSES),
    "squares": (nn.MSELoss, NUMBERS),
    "one class": (nn.CrossEntropyLoss, 0 * CLASSES),  # its gradient is above its noise
    "each class alone": (nn.BCEWithLogitsLoss, (NUMBERS > 0).double()),
}


@pytest.fixture
def theirs() -> Any:
    return pytest.importorskip("curvlinops", reason="curvlinops is not installed; `make` does it for oracles")


def network(activation: type[nn.Module] = nn.GELU) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(4, 5), activation(), nn.Linear(5, 5), activation(), nn.Linear(5, 3)
    ).double()


class Case:
    """A network and its loss over all examples, for both: in ``parts`` batches."""

    def __init__(
        self, name: str = "cross-entropy", reduction: str = "mean", parts: int = 1, **how: Any
    ) -> None:
        make, y = LOSSES[name]
        self.model, self.loss = network(**how), make(reduction=reduction)
        self.parameters = list(self.model.parameters())
        self.data = [
            (X[i * N // parts : (i + 1) * N // parts], y[i * N // parts : (i + 1) * N // parts])
            for i in range(parts)
        ]
        self.share = 1 / parts if reduction == "mean" else 1.0
        self.size = sum(p.numel() for p in self.parameters)
        self.like = torch.zeros(self.size, dtype=torch.float64)

    def terms(self) -> list[Any]:
        def term(x: Tensor, y: Tensor) -> Outputs:
            z = self.model(x)
            return Outputs(z, self.loss(z, y) * self.share)

        return [lambda x=x, y=y: term(x, y) for x, y in self.data]

    @property
    def hessian(self) -> Hessian:
        return Hessian(self.parameters, [lambda t=t: t().loss for t in self.terms()])

    @property
    def gauss_newton(self) -> GaussNewton:
        return GaussNewton(self.parameters, self.terms())

    def operator(self, kind: Any) -> Any:
        return kind(self.model, self.loss, self.parameters, self.data)

    def matrix(self, kind: Any) -> Tensor:
        return self.operator(kind) @ torch.eye(self.size, dtype=torch.float64)


def whole(product: Any, size: int) -> Tensor:
    return torch.stack([product(unit) for unit in torch.eye(size, dtype=torch.float64)])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", LOSSES)
def test_both_matrices_are_the_same(theirs: Any, name: str, reduction: str) -> None:
    case = Case(name, reduction, parts=3)
    for ours, kind in (
        (case.hessian, theirs.HessianLinearOperator),
        (case.gauss_newton, theirs.GGNLinearOperator),
    ):
        matrix = case.matrix(kind)
        torch.testing.assert_close(whole(ours, case.size), matrix, rtol=1e-9, atol=1e-12)
        v = torch.randn(case.size, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
        torch.testing.assert_close(ours(v), case.operator(kind) @ v, rtol=1e-9, atol=1e-12)


def test_of_relu_their_traces_are_the_same_too(theirs: Any) -> None:
    """tr H = tr G where the network is linear by pieces, of theirs and of ours."""
    case = Case(activation=nn.ReLU)
    full, newton = (
        float(case.matrix(kind).trace()) for kind in (theirs.HessianLinearOperator, theirs.GGNLinearOperator)
    )
    assert full == pytest.approx(newton, rel=1e-12)
    assert float(whole(case.hessian, case.size).trace()) == pytest.approx(full, rel=1e-12)


def test_traces_and_diagonals_of_the_same_signs(theirs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given our random signs their estimates are ours."""
    case, count = Case(), 20
    ours = hutchinson(
        case.hessian,
        case.like,
        error=0,
        least=count,
        most=count,
        generator=torch.Generator().manual_seed(3),
    )
    operator = case.operator(theirs.HessianLinearOperator)
    for module, estimate, found in (
        ("trace", theirs.hutchinson_trace, torch.tensor(ours.value, dtype=torch.float64)),
        ("diagonal", theirs.hutchinson_diag, ours.diagonal),
    ):
        draw = torch.Generator().manual_seed(3)
        monkeypatch.setattr(
            f"curvlinops.{module}.hutchinson.random_vector", lambda *_, d=draw: signs(case.like, d)
        )
        torch.testing.assert_close(found, estimate(operator, count), rtol=1e-10, atol=1e-12)
    assert len(ours.samples) == count


@pytest.mark.parametrize("kind", ["hessian", "gauss_newton"])
def test_the_density_from_the_same_start(theirs: Any, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Papyan's density is a sum of Gaussians whose width follows from the number of steps; theirs makes
    vectors orthogonal to two before them alone, which rounding does not show in so few steps."""
    case, steps, kappa, margin = Case(), 8, 3.0, 0.05
    names = {"hessian": theirs.HessianLinearOperator, "gauss_newton": theirs.GGNLinearOperator}
    operator = case.operator(names[kind])
    spectrum = density(
        getattr(case, kind), case.like, probes=2, steps=steps, generator=torch.Generator().manual_seed(5)
    )
    draw = torch.Generator().manual_seed(5)
    monkeypatch.setattr(
        "curvlinops.papyan2020traces.spectrum.randn", lambda *_, **__: gaussian(case.like, draw)
    )
    ends = torch.linalg.eigvalsh(whole(getattr(case, kind), case.size))[[0, -1]].tolist()
    grid, expected = theirs.lanczos_approximate_spectrum(
        operator, steps, num_points=101, num_repeats=2, kappa=kappa, boundaries=tuple(ends), margin=margin
    )
    half = (ends[1] - ends[0]) * (1 + 2 * margin) / 2
    width = half * 2 / (steps - 1) / math.sqrt(8 * math.log(kappa))
    found = torch.tensor(spectrum.smoothed(grid.tolist(), width), dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


def test_the_ends_of_the_spectrum(theirs: Any) -> None:
    """By ARPACK's implicitly restarted Lanczos, as they take it."""
    case = Case()
    spectra = pytest.importorskip("curvlinops.papyan2020traces.spectrum")
    low, high = spectra.approximate_boundaries(case.operator(theirs.HessianLinearOperator), tol=1e-10)
    found = top(case.hessian, case.like, 1, tolerance=1e-9, generator=torch.Generator().manual_seed(0))
    assert found.values[0] == pytest.approx(high, rel=1e-8)
    assert found.lowest == pytest.approx(low, rel=1e-3)


def test_the_noise_from_the_gradients_moments(theirs: Any) -> None:
    """Of single examples Σ = (E ggᵀ − ḡḡᵀ)·n/(n − 1): |G|², tr Σ, tr(HΣ) and GᵀHG from whole matrices."""
    case = Case("one class")
    moments = case.matrix(theirs.EFLinearOperator)
    hessian = case.matrix(theirs.HessianLinearOperator)
    mean = flatten(torch.autograd.grad(case.terms()[0]().loss, case.parameters))
    spread = (moments - torch.outer(mean, mean)) * N / (N - 1)
    each = [
        gradient_of(case.loss(case.model(x[None]), y[None]), case.parameters)
        for x, y in zip(*case.data[0], strict=True)
    ]
    found = noise_of(each, 1, case.hessian)
    squared, trace = float(mean @ mean - spread.trace() / N), float(spread.trace())
    bent, steep = float((hessian @ spread).trace()), float(mean @ hessian @ mean)
    assert found.trace == pytest.approx(trace, rel=1e-9)
    assert found.squared == pytest.approx(squared, rel=1e-9)
    assert found.curved == pytest.approx(bent / (steep - bent / N), rel=1e-9)
