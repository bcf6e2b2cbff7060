"""Tiger against its definition in NumPy; accumulation in the momentum; NaN at every microstep; memory."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from danlu.optim import Tiger

NAN, INF = float("nan"), float("inf")
SHAPES = {"kernel": (6, 4), "embedding": (5, 3), "gain": (7,), "bias": (4,), "zero": (3, 2)}
SCALES = {"kernel": "rms", "embedding": "rows", "gain": "half", "bias": "half", "zero": "rms"}


def groups(params, lazy=()):
    return [
        {
            "params": [p],
            "names": [name],
            "scale": SCALES[name],
            "centre": float(name == "gain"),
            "weight_decay": 0.0 if SCALES[name] == "half" else 0.1,
            "lazy_rows": name in lazy,
        }
        for name, p in params.items()
    ]


def parameters():
    made = {name: torch.nn.Parameter(torch.randn(s, dtype=torch.float64)) for name, s in SHAPES.items()}
    with torch.no_grad():
        made["zero"].zero_()
    return made


def gradients(count):
    return [{name: torch.randn(s, dtype=torch.float64) for name, s in SHAPES.items()} for _ in range(count)]


def definition(start, all_gradients, k=1, lr=0.01, beta=0.9, floor=1e-3):
    """The rules of Su's article and code, one tensor after another, microstep by microstep."""
    found = {}
    for name, p in start.items():
        theta, m = p.detach().numpy().copy(), np.zeros(p.shape)
        for t, gs in enumerate(all_gradients, 1):
            g = gs[name].numpy()
            if not np.isfinite(g).all():
                centre = 1.0 if name == "gain" else 0.0
                theta = (theta - centre) * 0.99 + centre
                continue
            m = ((beta - 1) * ((t - 1) % k == 0) + 1) * m + (1 - beta) / k * g
            if t % k == 0:
                if SCALES[name] == "half":
                    rate, decay = 0.5 * lr, 0.0
                else:
                    axis = 1 if SCALES[name] == "rows" else None
                    rms = np.sqrt((theta**2).mean(axis=axis, keepdims=True))
                    rate, decay = lr * np.maximum(rms, floor), 0.1
                theta = theta - rate * (np.sign(m) + decay * theta)
        found[name] = theta, m
    return found


def run(params, all_gradients, k=1, in_backward=False, lazy=()):
    rule = Tiger(groups(params, lazy), lr=0.01, beta=0.9, microsteps=k)
    if in_backward:
        rule.accumulate_in_backward()
    for t, gs in enumerate(all_gradients, 1):
        if in_backward:
            for name, p in params.items():
                (p * gs[name]).sum().backward()
                assert p.grad is None
            if t % k == 0:
                rule.step()
        else:
            for name, p in params.items():
                p.grad = gs[name].clone()
            rule.step()
    return rule


def compare(params, rule, expected):
    for name, p in params.items():
        theta, m = expected[name]
        np.testing.assert_allclose(p.detach().numpy(), theta, rtol=1e-12, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(rule.state[p]["exp_avg"].numpy(), m, rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("in_backward", [False, True])
def test_tiger_is_its_definition(k, in_backward):
    params, gs = parameters(), gradients(20)
    expected = definition(params, gs, k)
    compare(params, run(params, gs, k, in_backward), expected)


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("in_backward", [False, True])
@pytest.mark.parametrize("lazy", [(), ("embedding",)])
def test_k_microsteps_are_one_step_with_the_mean_of_the_gradients(k, in_backward, lazy):
    """Weights are those of averaging; lazily too, where a row has a gradient in some of the microsteps."""
    params, gs = parameters(), gradients(4 * k)
    for t, g in enumerate(gs):
        g["embedding"][: 1 + t % 3] = 0
        g["embedding"][4] = 0  # in none
    averaged = copy.deepcopy(params)
    start = params["embedding"].detach().clone()
    means = [{name: sum(g[name] for g in gs[i : i + k]) / k for name in SHAPES} for i in range(0, len(gs), k)]
    one, other = run(params, gs, k, in_backward, lazy), run(averaged, means, lazy=lazy)
    for name, p in params.items():
        q = averaged[name]
        torch.testing.assert_close(p, q, rtol=1e-14, atol=1e-14)
        momenta = (one.state[p]["exp_avg"], other.state[q]["exp_avg"])
        torch.testing.assert_close(*momenta, rtol=1e-14, atol=1e-14)
    assert torch.equal(params["embedding"][4], start[4]) == bool(lazy)


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("microstep", [0, 1, 3], ids=["first", "middle", "last"])
@pytest.mark.parametrize("in_backward", [False, True])
@pytest.mark.parametrize("which", SHAPES)
def test_not_finite_at_a_microstep(which, microstep, value, in_backward):
    """The momentum keeps its value (undecayed at the first; no move at the last), the weights go a hundredth
    of the way to 0, of a gain to 1; it is told; other tensors know nothing of it."""
    k = 4
    params, gs = parameters(), gradients(3 * k)
    gs[k + microstep][which].view(-1)[1] = value
    expected = definition(params, gs, k)
    rule = run(params, gs, k, in_backward)
    compare(params, rule, expected)
    assert rule.skipped == {which: 1}
    assert all(np.isfinite(theta).all() for theta, _ in expected.values())


@pytest.mark.parametrize("floor", [0.0, 1e-3])
def test_a_kernel_of_zeros_leaves_zero_by_the_floor(floor):
    """Its root mean square is 0, and so would be its rate, for ever."""
    p = torch.nn.Parameter(torch.zeros(4, 3, dtype=torch.float64))
    rule = Tiger([p], lr=0.01, floor=floor)
    p.grad = torch.randn_like(p)
    rule.step()
    assert torch.equal(p.detach(), -0.01 * floor * p.grad.sign())


def test_alone_it_treats_vectors_as_gains_and_biases():
    vector, matrix = (torch.nn.Parameter(torch.full(s, 3.0, dtype=torch.float64)) for s in [(5,), (5, 2)])
    vector.grad, matrix.grad = torch.ones_like(vector), torch.ones_like(matrix)
    Tiger([vector, matrix], lr=0.01, weight_decay=0.1).step()
    torch.testing.assert_close(vector.detach(), torch.full_like(vector, 3 - 0.5 * 0.01))
    torch.testing.assert_close(matrix.detach(), torch.full_like(matrix, 3 - 0.03 * (1 + 0.1 * 3)))


def test_untouched_rows_grow_by_the_logistic_map():
    """With a rate for each row of the size of the row, w ← w + η|w|(1 − λ|w|): from 0.02 to 1/λ."""
    lr, decay, steps = 0.05, 0.5, 400
    p = torch.nn.Parameter(torch.full((3, 4), 0.02, dtype=torch.float64))
    rule = Tiger([{"params": [p], "scale": "rows"}], lr=lr, weight_decay=decay)
    p.grad = -torch.ones_like(p)
    w = 0.02
    for _ in range(steps):
        rule.step()
        p.grad[1:] = 0
        w += lr * w * (1 - decay * w)
    assert math.isclose(w, 1 / decay, rel_tol=1e-6)
    torch.testing.assert_close(p.detach()[1:], torch.full((2, 4), w, dtype=torch.float64), rtol=1e-10, atol=0)


def test_gradients_are_freed_as_they_are_made():
    """The bytes of gradients alive at a time: of a chain of n equal layers with accumulation in the
    backward pass never more than one layer's, otherwise all n layers'."""
    n, width, k = 6, 8, 3
    peaks = {}
    for in_backward in (False, True):
        layers = [torch.nn.Linear(width, width, bias=False) for _ in range(n)]
        params = [layer.weight for layer in layers]
        rule = Tiger(params, microsteps=k)
        peak = 0

        def watch(_, params=params):
            nonlocal peak
            peak = max(peak, sum(p.grad.nbytes for p in params if p.grad is not None))

        for p in params:
            p.register_post_accumulate_grad_hook(watch)  # before it is folded
        if in_backward:
            rule.accumulate_in_backward()
        for _ in range(k):
            x = torch.randn(2, width)
            for layer in layers:
                x = layer(x).tanh()
            x.sum().backward()
        peaks[in_backward] = peak
        state = sum(t.nbytes for p in params if p in rule.state for t in rule.state[p].values() if t.ndim)
        assert state == (4 * n * width**2 if in_backward else 0)
    assert peaks == {False: 4 * n * width**2, True: 4 * width**2}


def test_the_hooks_can_be_taken_away():
    p = torch.nn.Parameter(torch.ones(3, 2))
    rule = Tiger([p])
    for handle in rule.accumulate_in_backward():
        handle.remove()
    p.sum().backward()
    assert p.grad is not None
    rule.step()
    assert (p < 1).all()


@pytest.mark.parametrize("in_backward", [False, True])
def test_between_microsteps_it_can_be_stopped(in_backward):
    """What was folded is in the state: bit for bit."""
    k, gs = 4, gradients(8)
    whole = parameters()
    first = copy.deepcopy(whole)
    run(whole, gs, k, in_backward)
    one = run(first, gs[:6], k, in_backward)
    second = copy.deepcopy(first)
    other = Tiger(groups(second), lr=0.01, beta=0.9, microsteps=k)
    for name, p in first.items():
        other.put_state(second[name], {key: t.clone() for key, t in one.state[p].items()})
    for g in gs[6:]:
        for name, p in second.items():
            p.grad = g[name]
        other.step()
    assert all(torch.equal(whole[name], second[name]) for name in whole)


def test_masks_do_what_branches_do(monkeypatch):
    """Where nothing may wait for a value (on a GPU), tensors have masks: the same numbers."""
    from danlu.optim.rules import signs

    k, gs = 3, gradients(12)
    gs[4]["kernel"][0, 0] = NAN
    gs[5]["gain"][0] = INF
    params = parameters()
    masked = copy.deepcopy(params)
    rule = run(params, gs, k)
    monkeypatch.setattr(signs, "decides", lambda p: False)
    other = run(masked, gs, k)
    assert rule.skipped == other.skipped == {"kernel": 1, "gain": 1}
    for name, p in params.items():
        torch.testing.assert_close(p, masked[name], rtol=1e-13, atol=1e-13)
