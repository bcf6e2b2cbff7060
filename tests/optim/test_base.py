"""What every update rule keeps to: state, its size and dtype, resuming, pieces; each rule by name."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu import optim
from danlu.optim import pieces

RULES = {
    "SGD": (optim.SGD, 4),
    "Adam": (optim.Adam, 8),
    "AdamW": (optim.AdamW, 8),
    "LAMB": (optim.LAMB, 8),
    "Lion": (optim.Lion, 4),
    "Tiger": (optim.Tiger, 4),
    "ScheduleFreeAdamW": (optim.ScheduleFreeAdamW, 8),
}
each_rule = pytest.mark.parametrize("rule", [rule for rule, _ in RULES.values()], ids=RULES)
SHAPES = [(6, 5), (7,), (), (2, 3, 4), (40, 50)]


def parameters(dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.nn.Parameter(torch.randn(s, generator=generator, dtype=torch.float64).to(dtype)) for s in SHAPES
    ]


def train(params, rule, steps, missing=lambda step: ()):
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for i, p in enumerate(params):
            g = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)
            p.grad = None if i in missing(step) else g
        rule.step()


@each_rule
def test_usable_alone_as_any_optimizer_of_pytorch(rule):
    """A quadratic falls: the mean of θ² over a hundred steps, each a small one."""
    params = parameters()
    optimizer = rule(params, lr=1e-2)
    assert isinstance(optimizer, torch.optim.Optimizer)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=10)
    before = sum(p.square().sum() for p in params)
    for _ in range(20):
        optimizer.zero_grad()
        sum(p.square().sum() for p in params).backward()
        optimizer.step()
        schedule.step()
    assert sum(p.square().sum() for p in params) < before


@pytest.mark.parametrize("name", RULES)
def test_bytes_of_state_are_those_of_the_table(name):
    """A parameter costs what the table says, a tensor at most 24 bytes more (counts)."""
    rule, expected = RULES[name]
    params = parameters()
    optimizer = rule(params)
    train(params, optimizer, range(1))
    for p in params:
        tensors = optimizer.state[p].values()
        assert sum(t.nbytes for t in tensors if t.shape == p.shape and p.ndim) == expected * p.numel() * (
            p.ndim > 0
        )
        assert sum(t.nbytes for t in tensors) <= expected * p.numel() + 24


@each_rule
@pytest.mark.parametrize("way", ["state_dict", "mapping", "pickle"])
@pytest.mark.parametrize("state_dtype", [None, torch.bfloat16])
def test_continuing_is_never_having_stopped(rule, way, state_dtype):
    """Bit for bit, whichever way the state goes out and in; one parameter now and then has no gradient."""

    def missing(step):
        return (1,) if step % 2 else ()

    whole = parameters()
    train(whole, rule(whole, state_dtype=state_dtype), range(7), missing)

    first = parameters()
    one = rule(first, state_dtype=state_dtype)
    train(first, one, range(4), missing)
    second = [torch.nn.Parameter(p.detach().clone()) for p in first]
    other = rule(second, state_dtype=state_dtype)
    if way == "state_dict":
        other.load_state_dict(copy.deepcopy(one.state_dict()))
    elif way == "pickle":
        second, other = pickle.loads(pickle.dumps((first, one)))
    else:
        for p, q in zip(first, second, strict=True):
            other.put_state(q, {key: t.clone() for key, t in one.state[p].items()})
    for p, q in zip(first, second, strict=True):
        assert {k: (t.dtype, t.shape) for k, t in one.state[p].items()} == {
            k: (t.dtype, t.shape) for k, t in other.state[q].items()
        }
    train(second, other, range(4, 7), missing)
    assert all(torch.equal(p, q) for p, q in zip(whole, second, strict=True))


@each_rule
def test_state_in_bfloat16_is_near_that_in_float32(rule):
    """Computed in float32 and rounded to 8 bits when it is put back: after five steps the weights have gone
    the same way (signs may differ where a momentum is near zero)."""
    params, exact = parameters(), parameters()
    start = parameters()
    optimizer = rule(params, lr=1e-3, state_dtype=torch.bfloat16)
    train(params, optimizer, range(5))
    train(exact, rule(exact, lr=1e-3), range(5))
    kept = [t for p in params for key, t in optimizer.state[p].items() if t.shape == p.shape and p.ndim]
    assert {t.dtype for t in kept} <= {torch.bfloat16, torch.float32}
    assert any(t.dtype == torch.bfloat16 for t in kept)
    for p, q, s in zip(params, exact, start, strict=True):
        moved, expected = (p - s).flatten(), (q - s).flatten()
        assert torch.dot(moved, expected) >= 0.95 * moved.norm() * expected.norm()


@each_rule
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pieces_change_nothing(rule, dtype, monkeypatch):
    """Tensors cut into small pieces, and gathered: the same numbers. In float64, where the order of a sum can
    move the last bit, to 1e-14."""
    whole, cut = parameters(dtype), parameters(dtype)
    train(whole, rule(whole, weight_decay=0.1), range(4))
    for function in (pieces.pieces, pieces.cut, pieces.cut_rows):
        monkeypatch.setattr(function, "__defaults__", (64,))
    train(cut, rule(cut, weight_decay=0.1), range(4))
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    for p, q in zip(whole, cut, strict=True):
        torch.testing.assert_close(p, q, rtol=tolerance, atol=tolerance)


@each_rule
def test_tensors_that_are_not_contiguous(rule):
    """A transposed parameter is updated as its copy is."""
    plain = [torch.nn.Parameter(torch.randn(40, 30, dtype=torch.float64))]
    turned = [torch.nn.Parameter(plain[0].detach().t().contiguous().t())]
    assert not turned[0].is_contiguous()
    pair = rule(plain), rule(turned)
    for _ in range(3):
        plain[0].grad = torch.randn_like(plain[0])
        turned[0].grad = plain[0].grad.clone(memory_format=torch.contiguous_format)
        for optimizer in pair:
            optimizer.step()
    torch.testing.assert_close(plain[0], turned[0], rtol=1e-13, atol=1e-13)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(1, 25))
def test_pieces_cover_everything_once(sizes, size):
    columns = [[torch.zeros(n) for n in sizes] for _ in range(2)]
    for piece in pieces.pieces(columns, size):
        assert sum(t.numel() for t in piece[0]) <= size
        assert [t.shape for t in piece[0]] == [t.shape for t in piece[1]]
        for t in [*piece[0], *piece[1]]:
            t.add_(1)
    assert all((t == 1).all() for column in columns for t in column)


def test_a_step_does_not_load_the_compiler():
    program = f"""
import sys, torch
from danlu import optim
p = torch.nn.Parameter(torch.ones(4, 4))
for name in {list(RULES)}:
    optimizer = getattr(optim, name)([p])
    p.grad = torch.ones(4, 4)
    optimizer.step()
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@each_rule
def test_compiled_is_the_same(rule, dtype):
    """Also over rates that change."""
    plain, compiled = parameters(dtype), parameters(dtype)
    pair = [(plain, rule(plain)), (compiled, rule(compiled, compiled=True))]
    for step in range(4):
        for params, optimizer in pair:
            optimizer.param_groups[0]["lr"] = 1e-3 / (1 + step)
            train(params, optimizer, [step])
    for p, q in zip(plain, compiled, strict=True):
        tolerance = 1e-5 if dtype == torch.float32 else 1e-12
        torch.testing.assert_close(p, q, rtol=tolerance, atol=tolerance)
