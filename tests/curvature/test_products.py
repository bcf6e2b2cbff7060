"""Products with Hessians and Gauss-Newton matrices, against matrices that are known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, hessian

from danlu.curvature import GaussNewton, Hessian, Outputs, flatten, hutchinson, split

X = torch.randn(12, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def whole(product: Callable[[Tensor], Tensor], size: int) -> Tensor:
    return torch.stack([product(unit) for unit in torch.eye(size, dtype=torch.float64)])


def quadratic(w: Tensor) -> Tensor:
    matrix = X.T @ X
    return 0.5 * w @ matrix @ w


def rosenbrock(w: Tensor) -> Tensor:
    return (100 * (w[1:] - w[:-1].square()).square() + (1 - w[:-1]).square()).sum()


def logistic(w: Tensor) -> Tensor:
    return F.softplus(X @ w).sum()


EXACT: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "quadratic": (quadratic, lambda w: X.T @ X),
    "logistic": (logistic, lambda w: X.T @ torch.diag(torch.sigmoid(X @ w) * torch.sigmoid(-X @ w)) @ X),
    "product": (
        lambda w: w.prod(),
        lambda w: w.prod() / torch.outer(w, w) * (1 - torch.eye(4, dtype=w.dtype)),
    ),
    "fourth powers": (lambda w: w.pow(4).sum(), lambda w: torch.diag(12 * w.square())),
    "linear": (lambda w: w.sum(), lambda w: torch.zeros(4, 4, dtype=w.dtype)),
    "rosenbrock": (rosenbrock, lambda w: rosenbrock_hessian(w)),
}


def rosenbrock_hessian(w: Tensor) -> Tensor:
    """Written out, for w of 4 numbers."""
    diagonal = torch.zeros(4, dtype=w.dtype)
    diagonal[:-1] = 1200 * w[:-1].square() - 400 * w[1:] + 2
    diagonal[1:] += 200
    beside = -400 * w[:-1]
    return torch.diag(diagonal) + torch.diag(beside, 1) + torch.diag(beside, -1)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("keep", [True, False])
def test_exact_cases(name: str, keep: bool) -> None:
    function, expected = EXACT[name]
    w = torch.tensor([0.5, -1.2, 0.7, 1.5], dtype=torch.float64, requires_grad=True)
    product = Hessian([w], [lambda: function(w)], keep=keep)
    with torch.no_grad():
        wanted = expected(w)
    torch.testing.assert_close(whole(product, 4), wanted, rtol=1e-12, atol=1e-10)
    assert product.value() == pytest.approx(float(function(w.detach())))


def network(activation: type[nn.Module]) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(4, 5), activation(), nn.Linear(5, 5), activation(), nn.Linear(5, 3)
    ).double()


def terms(model: nn.Module, parts: int = 1) -> list[Callable[[], Outputs]]:
    y = torch.arange(12) % 3

    def term(rows: slice) -> Callable[[], Outputs]:
        def outputs() -> Outputs:
            z = model(X[rows])
            return Outputs(z, F.cross_entropy(z, y[rows], reduction="sum") / 12)

        return outputs

    return [term(slice(i * 12 // parts, (i + 1) * 12 // parts)) for i in range(parts)]


@pytest.mark.slow  # torch.func's first Hessian takes seconds
@pytest.mark.parametrize("activation", [nn.GELU, nn.ReLU, nn.Tanh])
def test_networks_against_torch_func(activation: type[nn.Module]) -> None:
    model = network(activation)
    named = {name: p.detach() for name, p in model.named_parameters()}
    parameters = list(model.parameters())

    def loss(vector: Tensor) -> Tensor:
        given = dict(zip(named, split(vector, parameters), strict=True))
        return F.cross_entropy(functional_call(model, given, (X,)), torch.arange(12) % 3)

    start = flatten(list(named.values()))
    wanted = hessian(loss)(start)
    for parts in (1, 3):
        product = Hessian(parameters, [lambda t=t: t().loss for t in terms(model, parts)])
        torch.testing.assert_close(whole(product, len(start)), wanted, rtol=1e-9, atol=1e-12)
    v = torch.randn(len(start), dtype=torch.float64)
    product, step = Hessian(parameters, [lambda: terms(model)[0]().loss]), 1e-5
    sides = [torch.func.grad(loss)(start + sign * step * v) for sign in (1, -1)]
    torch.testing.assert_close(product(v), (sides[0] - sides[1]) / (2 * step), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(product.gradient(), torch.func.grad(loss)(start))


@pytest.mark.slow
@pytest.mark.parametrize("keep", [True, False])
def test_gauss_newton_against_the_jacobian(keep: bool) -> None:
    """JᵀH_zJ with H_z = diag p − ppᵀ for each example, of rank n(C − 1) at most."""
    model = network(nn.GELU)
    parameters = list(model.parameters())
    product = GaussNewton(parameters, terms(model, 2), keep=keep)
    size = sum(p.numel() for p in parameters)
    wanted = torch.zeros(size, size, dtype=torch.float64)
    for x in X:
        z = model(x)
        jacobian = torch.stack(
            [flatten(torch.autograd.grad(one, parameters, retain_graph=True)) for one in z]
        )
        p = z.softmax(-1).detach()
        wanted += jacobian.T @ (torch.diag(p) - torch.outer(p, p)) @ jacobian / 12
    found = whole(product, size)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    assert torch.linalg.matrix_rank(found, rtol=1e-10) <= 12 * 2
    assert torch.linalg.eigvalsh(found)[0] > -1e-12


def test_of_relu_networks_both_traces_are_the_same() -> None:
    """∇²z has no blocks of a layer with itself, so that tr H = tr G; of GELU that is not so."""
    for activation, same in ((nn.ReLU, True), (nn.GELU, False)):
        model = network(activation)
        parameters = list(model.parameters())
        size = sum(p.numel() for p in parameters)
        full = whole(Hessian(parameters, [lambda: terms(model)[0]().loss]), size).trace()  # noqa: B023
        newton = whole(GaussNewton(parameters, terms(model)), size).trace()
        assert (abs(float(full - newton)) < 1e-12 * float(full)) == same


def test_what_a_parameter_does_not_reach_is_zero() -> None:
    used, unused = (torch.ones(2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    product = Hessian([used, unused], [lambda: used.pow(3).sum()])
    assert product(torch.ones(4, dtype=torch.float64)).tolist() == [6, 6, 0, 0]

    def linear() -> Outputs:
        z = used * 2
        return Outputs(z, z.sum())

    newton = GaussNewton([used, unused], [linear])
    assert newton(torch.ones(4, dtype=torch.float64)).tolist() == [0, 0, 0, 0]


def test_hutchinsons_variance() -> None:
    """2 Σ_{i≠j} H_ij², within 5 · 1.5 standard errors of a variance of 2,000 normal numbers."""
    draw = torch.Generator().manual_seed(2)
    matrix = torch.randn(6, 6, dtype=torch.float64, generator=draw)
    matrix = matrix + matrix.T
    found = hutchinson(lambda v: matrix @ v, matrix[0], error=0, most=2000, generator=draw)
    samples = torch.tensor(found.samples)
    wanted = 2 * (matrix.square().sum() - matrix.diagonal().square().sum())
    assert abs(samples.var() / wanted - 1) < 5 * (2 / 2000) ** 0.5 * 1.5
    assert abs(found.value - matrix.trace()) < 5 * found.error
    assert found.error == pytest.approx(float(samples.std() / 2000**0.5))


def test_hutchinson_stops_on_its_standard_error() -> None:
    draw = torch.Generator().manual_seed(3)
    near = torch.eye(50, dtype=torch.float64) + 0.05
    found = hutchinson(lambda v: near @ v, near[0], error=0.02, generator=draw)
    assert 8 <= len(found.samples) < 256 and found.error <= 0.02 * found.value
    exact = hutchinson(lambda v: 3 * v, near[0], least=2, generator=draw)  # a diagonal has no variance
    assert exact.samples == (150.0, 150.0) and exact.diagonal.tolist() == [3.0] * 50
