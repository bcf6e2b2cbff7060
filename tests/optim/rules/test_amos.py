"""Amos against its authors' jestimator and its algorithm in NumPy; the rules of thumb drawn from it."""

from __future__ import annotations

import copy
import importlib.util
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from danlu.optim.rules.amos import Amos, rules_of_thumb

SHAPES = [(6, 4), (4, 6), (6, 4), (5,), (1, 3)]
SETTINGS = [{}, {"momentum": 0.9}, {"beta": 0.9, "extra_decay": 1e-3}]


def parameters(dtype=torch.float64):
    return [torch.nn.Parameter(0.3 * torch.randn(shape, dtype=dtype)) for shape in SHAPES]


def gradients(count):
    return [[torch.randn(s, dtype=torch.float64) for s in SHAPES] for _ in range(count)]


def run(params, all_gradients, **settings):
    rule = Amos(params, **settings)
    for gs in all_gradients:
        for p, g in zip(params, gs, strict=True):
            p.grad = g.clone()
        rule.step()
    return rule


def algorithm(theta, all_gradients, xi, eta, beta=0.999, momentum=None, extra_decay=0.0):
    """Algorithm 1 of Tian & Parikh 2022 with c = d = ¼, v and b one a row."""
    axis = -1 if theta.ndim > 1 else None
    v = b = np.zeros((*theta.shape[:-1], 1)) if theta.ndim > 1 else 0.0
    moved = np.zeros_like(theta)
    for t, g in enumerate(all_gradients, start=1):
        g2 = np.mean(g**2, axis=axis, keepdims=axis is not None)
        v = beta * v + (1 - beta) * g2
        v_hat = v / (1 - beta**t)
        gamma = (1 + math.sqrt(xi) / 4 * b) ** -0.5 * xi**2 * g2 / v_hat
        falling = 1 / (1 + math.sqrt(xi * eta) / 4 * b)
        step = falling * (xi * eta * g / np.sqrt(v_hat) + (gamma / 2 + extra_decay) * theta)
        moved = step if momentum is None else momentum * moved + (1 - momentum) * step
        theta = theta - moved
        b = b + gamma * (1 + b)
    return theta


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("xi", [0.01, 0.3])
def test_amos_is_its_algorithm(settings, xi):
    """η measured: the RMS of each initial matrix, ½ for vectors."""
    params, all_gradients = parameters(), gradients(30)
    start = [p.detach().numpy().copy() for p in params]
    run(params, all_gradients, lr=xi, **settings)
    for i, (p, theta) in enumerate(zip(params, start, strict=True)):
        eta = np.sqrt(np.mean(theta**2)) if theta.ndim > 1 else 0.5
        expected = algorithm(theta, [gs[i].numpy() for gs in all_gradients], xi, eta, **settings)
        np.testing.assert_allclose(p.detach().numpy(), expected, rtol=1e-12, atol=1e-12)


def jestimators():
    """The module with its Amos alone: the package imports another, which today's JAX breaks."""
    package = importlib.util.find_spec("jestimator")
    if package is None or package.origin is None:
        pytest.skip("the extra oracles is not installed")
    file = Path(package.origin).with_name("amos.py")
    found = importlib.util.spec_from_file_location("jestimators_amos", file)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_amos_is_jestimators(settings):
    """With v and b reduced over the last axis of matrices, all of vectors."""
    jax = pytest.importorskip("jax", reason="the extra oracles is not installed")
    optax = pytest.importorskip("optax", reason="the extra oracles is not installed")
    amos = jestimators()
    with jax.enable_x64(True):
        params, all_gradients = parameters(), gradients(30)
        theirs = {str(i): jax.numpy.asarray(p.detach().numpy()) for i, p in enumerate(params)}
        names = {"extra_decay": "extra_l2"}
        oracle = amos.amos(
            0.1,
            lambda name, shape: 0.2,
            lambda name, shape: (*shape[:-1], 1) if len(shape) > 1 else (),
            **{names.get(key, key): value for key, value in settings.items()},
        )
        state = oracle.init(theirs)
        for gs in all_gradients:
            given = {str(i): jax.numpy.asarray(g.numpy()) for i, g in enumerate(gs)}
            updates, state = oracle.update(given, state, theirs)
            theirs = optax.apply_updates(theirs, updates)
        run(params, all_gradients, lr=0.1, scale=0.2, **settings)
        for i, p in enumerate(params):
            np.testing.assert_allclose(p.detach().numpy(), np.asarray(theirs[str(i)]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("momentum", [None, 0.9])
@pytest.mark.parametrize(("shape", "scale"), [((5,), 0.5), ((1, 3), (2 / 3) ** 0.5)])
def test_amos_is_pytorch_optimizers_on_one_row(shape, scale, momentum):
    """Its v and b are one number a tensor, and its η is fixed: ½ for vectors, √(2/columns) for matrices, with
    which it agrees where there is one row. Its ``extra_l2`` x acts as −x/2 and is left out."""
    po = pytest.importorskip("pytorch_optimizer", reason="the extra oracles is not installed")
    ours = torch.nn.Parameter(torch.randn(shape, dtype=torch.float64))
    theirs = copy.deepcopy(ours)
    rule = Amos([ours], lr=0.1, scale=scale, momentum=momentum)
    oracle = po.Amos([theirs], lr=0.1, momentum=momentum or 0.0, eps=0.0)
    for _ in range(20):
        ours.grad = torch.randn_like(ours)
        theirs.grad = ours.grad.clone()
        rule.step()
        oracle.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_the_rate_follows_from_the_number_of_updates():
    ours, theirs = parameters(), []
    theirs = copy.deepcopy(ours)
    all_gradients = gradients(3)
    run(ours, all_gradients, updates=400)
    run(theirs, all_gradients, lr=0.05)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match="updates"):
        Amos(parameters())


def test_scales_are_measured_once():
    """The RMS of a matrix; for one of zeros what 1/√columns would have given; ½ for vectors and scalars."""
    shapes = {(8, 4): None, (4, 8): 8**-0.5, (3,): 0.5, (): 0.5}
    params = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    with torch.no_grad():
        params[0].normal_(std=0.02)
    expected = [params[0].square().mean().sqrt().item(), *list(shapes.values())[1:]]
    rule = Amos(params, lr=0.1)
    rule.prepare()
    assert [rule.state[p]["scale"].item() for p in params] == pytest.approx(expected)
    for p in params:
        p.grad = torch.ones_like(p)
    rule.step()
    assert [rule.state[p]["scale"].item() for p in params] == pytest.approx(expected)


def test_the_first_update_moves_by_rate_times_scale():
    """g/√v̂ has RMS 1 at the first step, and the decay is ξ²/2: the vector of zeros moves by ξη sign-like."""
    p = torch.nn.Parameter(torch.zeros(10, dtype=torch.float64))
    p.grad = torch.randn(10, dtype=torch.float64)
    Amos([p], lr=0.1, scale=0.3).step()
    assert p.square().mean().sqrt().item() == pytest.approx(0.1 * 0.3, rel=1e-12)


def test_it_lowers_its_own_rate():
    """b grows by γ(1 + b), and with it D and c fall: the same gradient moves a weight ever less."""
    p = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))
    rule, moves = Amos([p], lr=0.3, scale=0.5), []
    for _ in range(200):
        p.grad = torch.ones(4, dtype=torch.float64)
        with torch.no_grad():
            p.zero_()
        rule.step()
        moves.append(p.abs().max().item())
    assert all(earlier > later for earlier, later in itertools.pairwise(moves))
    assert moves[-1] < 0.3 * moves[0]


def test_bytes_of_state():
    """Two numbers a row: next to nothing."""
    p = torch.nn.Parameter(torch.zeros(512, 512))
    rule = Amos([p], lr=0.1)
    rule.prepare()
    assert sum(t.nbytes for t in rule.state[p].values()) == 4 * (2 * 512 + 2)
    rule = Amos([p], lr=0.1, momentum=0.9)
    rule.prepare()
    assert rule.state[p]["momentum"].shape == p.shape


def test_rules_of_thumb_for_bert():
    """Su 2023 (9473): a base BERT, σ = 0.036, α₀ = 1.11e-3, gives Lion the rate 4e-5 and the decay 0.0154."""
    rate, decay = rules_of_thumb(0.036, 1.11e-3)
    assert rate == pytest.approx(4e-5, rel=0.002)
    assert decay == pytest.approx(0.0154, rel=0.002)


def test_rules_of_thumb_keep_the_scale():
    """Updates of independent signs with this rate and decay keep weights of RMS σ: ρ = α²/(2qσ²) balances
    growth by α² and shrinking by 2ρσ² at each step."""
    rate, decay = rules_of_thumb(0.05, progress=0.02)
    shrinking = 2 * rate * decay * 0.05**2
    assert shrinking == pytest.approx(rate**2, rel=1e-12)
