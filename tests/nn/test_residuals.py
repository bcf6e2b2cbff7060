"""Ways to join a branch to the stream; DeepNorm's constants and what they are for."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from danlu import spec
from danlu.models import Decoder
from danlu.nn import build
from danlu.nn.residuals import Admin, DeepNorm, DepthScaled, Halved, LayerScale, NoResidual, Plain, ReZero
from danlu.optim import by_role
from tests.nn.compare import randomised

WIDTH = 5
JOINS = [
    Plain(WIDTH),
    Halved(WIDTH),
    DepthScaled(WIDTH, scale=0.3),
    ReZero(WIDTH),
    LayerScale(WIDTH),
    DeepNorm(WIDTH, alpha=1.7),
    Admin(WIDTH),
]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 4), max_size=3),
    st.integers(1, 9),
    st.floats(0.1, 5),
    st.integers(0, 2**31),
)
def test_each_is_its_formula(shape, width, number, seed):
    torch.manual_seed(seed)
    x, branch = torch.randn(2, *shape, width, dtype=torch.float64)
    rezero, scale, admin = (randomised(join(width)).double() for join in (ReZero, LayerScale, Admin))
    for join, expected in (
        (Plain(width), x + branch),
        (Halved(width), (x + branch) / math.sqrt(2)),
        (rezero, x + rezero.gain.item() * branch),
        (scale, x + branch @ torch.diag(scale.gain)),
        (DeepNorm(width, alpha=number), number * x + branch),
        (DepthScaled(width, scale=number), x + number * branch),
        (admin, x @ torch.diag(admin.gain) + branch),
        (NoResidual(width), branch),
    ):
        torch.testing.assert_close(join(x, branch), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    "part",
    [
        spec.Plain, spec.NoResidual, spec.Halved, spec.DepthScaled, spec.ReZero, spec.LayerScale,
        spec.DeepNorm, spec.Admin,
    ],
)  # fmt: skip
def test_built_from_its_specification(part):
    assert type(build(part(), WIDTH)).__name__ == part.__name__


def test_at_the_start():
    x, branch = torch.randn(2, 3, WIDTH)
    assert torch.equal(ReZero(WIDTH)(x, branch), x)
    assert torch.equal(LayerScale(WIDTH, init=0.5)(x, branch), x + 0.5 * branch)
    assert torch.equal(DeepNorm(WIDTH)(x, branch), Plain(WIDTH)(x, branch))
    assert torch.equal(DepthScaled(WIDTH)(x, branch), Plain(WIDTH)(x, branch))
    assert torch.equal(Admin(WIDTH)(x, branch), Plain(WIDTH)(x, branch))
    assert torch.equal(DeepNorm(WIDTH, alpha=1.0, beta=1.0)(x, branch), Plain(WIDTH)(x, branch))


@pytest.mark.parametrize("join", JOINS, ids=lambda j: type(j).__name__)
def test_gradcheck(join):
    join = join.double()
    names = [name for name, _ in join.named_parameters()]

    def call(x, branch, *parameters):
        given = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(join, given, (x, branch))

    x, branch = (torch.randn(2, 3, WIDTH, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert gradcheck(call, (x, branch, *(p.detach().requires_grad_() for p in join.parameters())))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("join", JOINS, ids=lambda j: type(j).__name__)
def test_types(join, dtype):
    """The stream keeps its type; learned numbers and their gradients are float32, to an optimizer gains."""
    join = join.float()
    y = join(*torch.randn(2, 3, WIDTH).to(dtype))
    assert y.dtype == dtype
    for name, parameter in join.named_parameters():
        (gradient,) = torch.autograd.grad(y.sum(), parameter)
        assert gradient.dtype == parameter.dtype == torch.float32
        assert name in by_role(join)["gain"]


def test_halving_keeps_the_variance():
    """Of independent terms of variance 1, after 50 sums; the variance of n = 10⁵ normal numbers has a
    standard error of √(2/n) = 0.0045, and five of them are allowed. Plain sums reach 51."""
    halved, plain = torch.randn(2, 100_000)
    for _ in range(50):
        branch = torch.randn(100_000)
        halved, plain = Halved(1)(halved, branch), Plain(1)(plain, branch)
    assert abs(halved.var().item() - 1) < 5 * 0.0045
    assert abs(plain.var().item() / 51 - 1) < 5 * 0.0045


# Wang et al. 2022 (arXiv:2203.00555), figure 2, where the roots are whole or halves:
# layers, other stack, side, α, β.
FIGURE_2 = [
    (8, None, "decoder", 16**0.25, 64**-0.25),  # one stack: (2N)^¼, (8N)^−¼
    (128, None, "encoder", 4.0, 2**-2.5),
    (16, 1, "encoder", 0.81 * 2, 0.87 / 2),  # encoder of two: 0.81 (N⁴M)^(1/16), 0.87 (N⁴M)^(−1/16)
    (4, 256, "encoder", 0.81 * 2, 0.87 / 2),
    (27, 6, "decoder", 3.0, 324**-0.25),  # decoder of two: (3M)^¼, (12M)^−¼
    (108, 6, "decoder", 324**0.25, 1 / 6),
]


@pytest.mark.parametrize(("layers", "other", "side", "alpha", "beta"), FIGURE_2)
def test_constants_are_the_papers(layers, other, side, alpha, beta):
    got = spec.DeepNorm().constants(layers, other, side)
    assert got == pytest.approx((alpha, beta), rel=1e-12)


@given(st.integers(1, 1000))
def test_constants_meet_their_conditions(layers):
    """The paper's bound of an update, theorem 4.2 with v = w = β in 2N branches: 2N · (2β²)/α² = 1; and
    Su's for Adam, where a branch counts by β/α and not by its square: 2N · β/α = 1."""
    alpha, beta = spec.DeepNorm().constants(layers)
    assert 2 * layers * 2 * beta**2 / alpha**2 == pytest.approx(1)
    alpha, beta = spec.DeepNorm(rule="adam").constants(layers)
    assert 2 * layers * beta / alpha == pytest.approx(1)
    assert alpha * beta == pytest.approx(1)


def test_given_constants_are_kept():
    chosen = spec.DeepNorm(alpha=2.0, beta=0.25)
    assert chosen.constants(100) == (2.0, 0.25)
    assert spec.DeepNorm(alpha=2.0).constants(8) == pytest.approx((2.0, 64**-0.25))


def start(layers: int, chosen: spec.DeepNorm, width: int = 16) -> tuple[float, float]:
    """At the start of ``layers`` layers of two branches each: the squared gradient, which is the change of
    the loss under a step of gradient descent; and the change of the output under one of Adam, by signs."""
    alpha, beta = chosen.constants(layers)
    residual = DeepNorm(width, alpha=alpha, beta=beta)
    weights = [torch.empty(width, width, requires_grad=True) for _ in range(4 * layers)]
    for weight in weights:
        torch.nn.init.xavier_normal_(weight, gain=beta)
    x0, target = torch.randn(2, 64, width)

    def output(weights: list[torch.Tensor]) -> torch.Tensor:
        x = x0
        for up, down in zip(weights[::2], weights[1::2], strict=True):
            x = F.layer_norm(residual(x, F.linear(F.gelu(F.linear(x, up)), down)), (width,))
        return x

    y = output(weights)
    gradients = torch.autograd.grad(F.mse_loss(y, target), weights)
    stepped = output([w - 1e-3 * g.sign() for w, g in zip(weights, gradients, strict=True)])
    return sum(g.square().sum().item() for g in gradients), (stepped - y).square().mean().sqrt().item()


def test_each_rule_holds_its_own_step_whatever_the_depth():
    """From 4 to 64 layers, up to a factor of two for the draw: the paper's constants keep the step of
    gradient descent, and let that of Adam grow by √16; Su's keep that of Adam."""
    few, many = (start(layers, spec.DeepNorm()) for layers in (4, 64))
    assert 1 / 2 < many[0] / few[0] < 2
    assert 4 / 2 < many[1] / few[1] < 4 * 2
    few, many = (start(layers, spec.DeepNorm(rule="adam")) for layers in (4, 64))
    assert 1 / 2 < many[1] / few[1] < 2


@pytest.mark.parametrize(
    ("more", "branches"),
    [({}, 6), ({"placement": "parallel"}, 3), ({"mixer": {"kind": "none"}, "position": {"kind": "none"}}, 3)],
)
def test_a_branch_is_divided_by_the_root_of_their_number(more, branches):
    small = {
        "layers": 3,
        "width": 16,
        "residual": {"kind": "depth-scaled"},
        "mixer": {"kind": "attention", "heads": 2},
    }
    model = Decoder(8, 4, **(small | more))
    joins = [module for module in model.modules() if isinstance(module, DepthScaled)]
    assert len(joins) == branches and all(join.scale == branches**-0.5 for join in joins)
    given = Decoder(8, 4, **(small | {"residual": {"kind": "depth-scaled", "scale": 0.25}}))
    assert {m.scale for m in given.modules() if isinstance(m, DepthScaled)} == {0.25}


def test_what_would_leave_nothing_is_refused():
    for wrong, said in (
        ({"residual": {"kind": "none"}, "init": {"branch": "zero"}}, "nothing is left of the input"),
        (
            {"residual": {"kind": "admin"}},
            "residual.kind = admin needs a norm after each sum",
        ),
    ):
        with pytest.raises(ValueError, match=said):
            spec.Decoder(**wrong)
    with pytest.raises(spec.SpecError, match="admin is set by a first batch"):
        spec.resolve(["nano", "+admin", "train.parallel=fsdp"])
