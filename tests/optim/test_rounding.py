"""bfloat16 weights: the distribution of stochastic rounding, rules in float32, updates that are lost."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
import torch
import torch.nn as nn
from hypothesis import given
from hypothesis import strategies as st

from danlu import optim
from danlu.optim.base import Rule
from danlu.optim.rounding import HalfPrecision, Steps, round_stochastically, round_with, steps, to_bfloat16

ALL_NOISE = torch.arange(1 << 16, dtype=torch.int32)
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


# ---------------------------------------------------------------- one number


@given(floats)
def test_every_noise_once_gives_the_number_itself(number: float) -> None:
    """The 2¹⁶ noises are equally likely: with each of them once the mean is the number, as a fraction."""
    rounded = round_with(torch.full((1 << 16,), number), ALL_NOISE)
    values, counts = rounded.float().unique(return_counts=True)
    if values.isinf().any():  # beyond the largest number of bfloat16
        assert abs(number) > float(torch.finfo(torch.bfloat16).max)
        return
    parts = zip(values.tolist(), counts.tolist(), strict=True)
    assert sum(Fraction(value) * count for value, count in parts) / (1 << 16) == Fraction(number)
    assert len(values) == 1 or values[0] <= number <= values[1]
    if len(values) == 2:  # neighbours: nothing of bfloat16 lies between
        bits = values.to(torch.bfloat16).view(torch.int16).int().tolist()
        assert abs(bits[0] - bits[1]) == 1 or 0 in values


@given(st.integers(0, (1 << 16) - 1), st.integers(0, (1 << 16) - 1))
def test_what_bfloat16_has_stays(bits: int, noise: int) -> None:
    number = torch.tensor([bits << 16], dtype=torch.int64).to(torch.int32).view(torch.float32)
    rounded = round_with(number, torch.tensor([noise], dtype=torch.int32))
    assert (number.isnan() and rounded.isnan()) or torch.equal(rounded.float(), number)


@pytest.mark.parametrize("bits", [0x7FFFFFFF, -1, 0x7FC00000, 0x7F800001])
def test_no_nan_becomes_a_number(bits: int) -> None:
    nan = torch.tensor([bits], dtype=torch.int32).view(torch.float32)
    assert round_with(nan.expand(1 << 16), ALL_NOISE).isnan().all()


@pytest.mark.parametrize("share", [1 / 65536, 0.01, 0.5, 0.97])
def test_as_often_as_near(share: float) -> None:
    """Within five standard deviations of the binomial distribution."""
    count, spacing = 200_000, 2**-7
    x = torch.full((count,), 1 + share * spacing)
    chance = float((x[0].double() - 1) / spacing)
    up = int((round_stochastically(x, torch.Generator().manual_seed(1)) == 1 + spacing).sum())
    assert abs(up - count * chance) <= 5 * math.sqrt(count * chance * (1 - chance)) + 1


def test_the_generator_decides() -> None:
    x = torch.randn(1000)
    one, same, other = (round_stochastically(x, torch.Generator().manual_seed(n)) for n in (3, 3, 4))
    assert torch.equal(one, same) and not torch.equal(one, other)


# ---------------------------------------------------------------- rules


def grads(params: list[nn.Parameter], seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    for p in params:
        p.grad = torch.randn(p.shape, generator=draw).to(p.dtype)


RULES = [
    "SGD",
    "Adam",
    "AdamW",
    "LAMB",
    "Adafactor",
    "Lion",
    "Tiger",
    "Amos",
    "Muon",
    "ScheduleFreeAdamW",
    "SOAP",
]


def rule_of(kind: str, params: list[nn.Parameter]) -> torch.optim.Optimizer:
    if kind == "pytorch's":
        return torch.optim.AdamW(params, lr=1e-2, foreach=True)
    names = ["a", "b", "c"]
    groups = [{"params": params[:1], "names": names[:1]}, {"params": params[1:], "names": names[1:]}]
    rule: torch.optim.Optimizer = getattr(optim, kind)(groups, lr=1e-2)
    return rule


def matrices() -> list[nn.Parameter]:
    draw = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(s, generator=draw).bfloat16()) for s in ((6, 4), (4, 6), (3, 5))]


@pytest.mark.parametrize("kind", [*RULES, "pytorch's"])
@pytest.mark.parametrize("chunk", [1, 40])
def test_the_rule_in_float32_then_rounded(kind: str, chunk: int) -> None:
    """What the rule makes of float32 copies, rounded after each step; the same state, bit for bit."""
    ours, copies = matrices(), [nn.Parameter(p.detach().float()) for p in matrices()]
    rule, exact = rule_of(kind, ours), rule_of(kind, copies)
    half = HalfPrecision(stochastic=False, chunk=chunk)
    for step in range(4):
        grads(ours, step)
        for p, copy in zip(ours, copies, strict=True):
            copy.grad = p.grad.float()
        half.begin(step)
        half.step(rule)
        exact.step()
        for p, copy in zip(ours, copies, strict=True):
            bound = {} if kind != "Muon" else {"rtol": 2e-2, "atol": 1e-3}  # batches differ in its bfloat16
            torch.testing.assert_close(p.data, copy.data.bfloat16(), **(bound or {"rtol": 0, "atol": 0}))
            copy.data.copy_(p.data)
            for name, tensor in exact.state[copy].items():
                assert rule.state[p][name].dtype == tensor.dtype
                torch.testing.assert_close(rule.state[p][name], tensor, **(bound or {"rtol": 0, "atol": 0}))
    assert all(p.dtype == torch.bfloat16 for p in ours)
    assert set(rule.state) == set(ours)  # of the copies nothing is left
    assert [p for group in rule.param_groups for p in group["params"]] == ours


def test_the_update_and_the_seed_decide() -> None:
    def after(seed: int, updates: range) -> torch.Tensor:
        params = matrices()
        rule, half = rule_of("AdamW", params), HalfPrecision(stochastic=True, seed=seed)
        for update in updates:
            grads(params, update)
            half.begin(update)
            half.step(rule)
        return torch.cat([p.detach().flatten() for p in params])

    assert torch.equal(after(1, range(3)), after(1, range(3)))
    assert not torch.equal(after(1, range(3)), after(2, range(3)))


def test_small_steps_arrive_in_the_mean() -> None:
    """Steps of 1/1024 of the spacing: to the nearest nothing ever moves; stochastically the mean does, within
    five standard deviations (the variance of a step is at most its probability)."""
    count, updates, spacing = 20_000, 50, 2**-7
    moved = {}
    for stochastic in (False, True):
        p = nn.Parameter(torch.full((count,), 1.5).bfloat16())
        rule, half = torch.optim.SGD([p], lr=spacing / 1024), HalfPrecision(stochastic=stochastic)
        for update in range(updates):
            p.grad = -torch.ones_like(p)
            half.begin(update)
            half.step(rule)
        moved[stochastic] = float((p.detach().double() - 1.5).mean()) / spacing
        share = half.row(lambda counts: counts)["lost_updates"]
        assert share == 1.0 if not stochastic else 0.99 < share < 1
    assert moved[False] == 0
    chance = updates / 1024
    assert abs(moved[True] - chance) <= 5 * math.sqrt(chance / count)


def test_parameters_without_gradient_stay() -> None:
    params = matrices()
    grads(params[:1], 0)
    before = [p.detach().clone() for p in params]
    half, rule = HalfPrecision(stochastic=True), rule_of("AdamW", params)
    half.step(rule)
    assert [torch.equal(p, b) for p, b in zip(params, before, strict=True)] == [False, True, True]


def test_gradients_that_are_in_the_momentum_already() -> None:
    """Tiger's, folded in as they are made: nothing has a gradient when the step comes."""
    params, copies = matrices(), [nn.Parameter(p.detach().float()) for p in matrices()]
    rules = [optim.Tiger(of, state_dtype=torch.float32, microsteps=2) for of in (params, copies)]
    half = HalfPrecision(stochastic=False)
    for rule, of in zip(rules, (params, copies), strict=True):
        rule.accumulate_in_backward()
        for factor in (1.0, 2.0):
            sum((p.float().square().sum() * factor for p in of), torch.zeros(())).backward()
        assert all(p.grad is None for p in of)
    half.step(rules[0])
    rules[1].step()
    for p, copy, before in zip(params, copies, matrices(), strict=True):
        assert torch.equal(p, copy.bfloat16()) and not torch.equal(p, before)


def test_state_before_the_first_step_is_float32() -> None:
    params = matrices()
    rule, half = rule_of("AdamW", params), HalfPrecision(stochastic=True)
    assert isinstance(rule, Rule)
    half.prepare(rule)
    assert all(t.dtype == torch.float32 for p in params for t in rule.state[p].values())
    assert [len(group["params"]) for group in rule.param_groups] == [1, 2]


def test_bytes() -> None:
    """Two bytes a weight between updates, and the rule's state as ever."""
    params = matrices()
    rule, half = rule_of("AdamW", params), HalfPrecision(stochastic=True)
    grads(params, 0)
    half.step(rule)
    weights = sum(p.numel() for p in params)
    assert sum(p.nbytes for p in params) == 2 * weights
    moments = [t for p in params for t in rule.state[p].values() if t.shape == p.shape]
    assert sum(t.nbytes for t in moments) == 8 * weights


def test_only_parameters_change_their_type() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    to_bfloat16(model)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert {b.dtype for b in model.buffers()} == {torch.float32, torch.int64}


def test_as_the_experiment_says() -> None:
    kinds: dict[str, Any] = {w: steps(w) for w in ("float32", "bfloat16", "bfloat16-stochastic")}
    assert type(kinds["float32"]) is Steps and kinds["float32"].row(lambda counts: counts) == {}
    assert not kinds["bfloat16"].stochastic and kinds["bfloat16-stochastic"].stochastic


# ---------------------------------------------------------------- what nearest rounding loses


def lost(weights: torch.Tensor, rate: float, rms: float, dtype: torch.dtype) -> float:
    """The share of weights that a step of ``rate`` · RMS, up or down, leaves where they are."""
    kept = weights.to(dtype)
    signs = torch.where(torch.rand(weights.shape) < 0.5, 1.0, -1.0)
    return float(((kept.float() + rate * rms * signs).to(dtype) == kept).float().mean())


@pytest.mark.parametrize(
    ("rate", "dtype", "published"),
    [
        (1e-3, torch.bfloat16, 0.70), (1e-3, torch.float16, 0.002),
        (2e-4, torch.bfloat16, 0.92), (2e-4, torch.float16, 0.44),
    ],
)  # fmt: skip
def test_updates_of_a_sign_rule_that_rounding_loses(
    rate: float, dtype: torch.dtype, published: float
) -> None:
    """θ ~ N(0, σ²), steps of rate · σ (Tiger's, Su 2023), σ = 0.02. Rounding to the nearest keeps θ where
    half the spacing is wider: from |θ| = 2^⌈log₂(2 · rate · σ / ε)⌉ on; of probability erfc(|θ|/σ√2)."""
    rms, eps = 0.02, torch.finfo(dtype).eps
    threshold = 2.0 ** math.ceil(math.log2(2 * rate * rms / eps))
    expected = math.erfc(threshold / rms / math.sqrt(2))
    assert expected == pytest.approx(published, abs=0.007)
    torch.manual_seed(0)
    weights = torch.randn(400_000) * rms
    assert lost(weights, rate, rms, dtype) == pytest.approx(expected, abs=0.005)
