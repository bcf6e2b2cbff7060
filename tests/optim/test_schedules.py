"""The rate over a run: exact at both ends, without jumps, and where others have the same schedule, theirs."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
import transformers
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from danlu import spec
from danlu.optim import Progress, factor
from danlu.train.plan import Plan

STEPS, CONTEXT = 400, 8
BATCH = 4 * CONTEXT  # tokens
fractions = st.integers(0, 20).map(lambda n: n / 20)
counts = st.integers(1, STEPS // 2)


def durations(shares):
    """Shares, steps or tokens, in a run of STEPS updates of BATCH tokens."""
    return st.one_of(shares, counts.map(lambda n: f"{n} steps"), counts.map(lambda n: f"{n * BATCH} tokens"))


warmups = durations(st.integers(0, 10).map(lambda n: n / 20))
lasting = durations(st.integers(1, 20).map(lambda n: n / 20))
shapes = st.sampled_from(["linear", "cosine", "sqrt"])
falling = st.one_of(
    st.builds(spec.Linear, warmup=warmups, floor=fractions),
    st.builds(spec.Cosine, warmup=warmups, floor=fractions),
    st.builds(spec.WSD, warmup=warmups, floor=fractions, decay=lasting, shape=shapes),
)
endless = st.one_of(
    st.builds(spec.Constant, warmup=warmups),
    st.builds(spec.Rsqrt, warmup=warmups, hold=lasting),
    st.builds(spec.AmosDecay, warmup=warmups, half=lasting, squared=st.booleans()),
    st.builds(spec.AmosDecay, warmup=warmups, kappa=st.floats(1e-5, 1), squared=st.booleans()),
)
drops = st.builds(
    spec.Drops, warmup=warmups, at=st.lists(lasting, min_size=1, max_size=3).map(tuple), by=fractions
)
pieces = st.builds(
    spec.Piece, to=st.none() | fractions, until=st.integers(11, 19).map(lambda n: n / 20), shape=shapes
)
chains = st.lists(pieces, max_size=3, unique_by=lambda piece: piece.until).flatmap(
    lambda found: st.builds(
        spec.Pieces,
        warmup=warmups,
        pieces=st.builds(spec.Piece, to=fractions, shape=shapes).map(
            lambda last: (*sorted(found, key=lambda piece: piece.until), last)
        ),
    )
)
many = settings(max_examples=60, deadline=None)


def run(s, steps=STEPS):
    """The factor of every update of a run bounded by steps, and that of the run's end."""
    plan = Plan(spec.Train(steps=steps, batch=BATCH // CONTEXT), CONTEXT)
    return [factor(s, plan.at(step, step * BATCH, step / steps)) for step in range(steps + 1)]


def warm_steps(s):
    """The updates of the warm-up, not all of them whole."""
    amount, unit = spec.length(s.warmup)
    return amount * {"run": STEPS, "steps": 1, "tokens": 1 / BATCH}[unit]


# ------------------------------------------------------------ ends, bounds, directions


@many
@given(falling)
def test_ends_at_the_floor(s):
    assert run(s)[-1] == s.floor


@many
@given(chains)
def test_pieces_end_at_what_the_last_goes_to(s):
    assert run(s)[-1] == s.pieces[-1].to


@many
@given(falling | endless | drops | chains)
def test_stays_between_nothing_and_the_peak(s):
    rates = run(s)
    assert all(0 <= rate <= 1 for rate in rates)
    assert rates[0] > 0 or spec.length(s.warmup).amount == 0
    if s.kind not in ("amos", "drops", "rsqrt", "pieces") and warm_steps(s) < STEPS - 1:
        assert max(rates) == 1.0


@many
@given(falling | endless | drops)
def test_never_rises_after_the_warm_up(s):
    rates = run(s)[math.ceil(warm_steps(s)) :]
    assert all(a >= b - 1e-12 for a, b in pairwise(rates))


@many
@given(falling | endless.filter(lambda s: s.kind == "constant"))
def test_rises_all_through_the_warm_up(s):
    rates = run(s)[: int(warm_steps(s))]
    assert all(a < b or b == 0.01 for a, b in pairwise(rates))


@pytest.mark.parametrize("kind", [spec.Constant, spec.Linear, spec.Cosine, spec.WSD])
@pytest.mark.parametrize("count", [1, 4, 100])
@pytest.mark.parametrize("unit", ["steps", "tokens"])
def test_a_warm_up_begins_with_its_nth_part(kind, count, unit):
    s = kind(warmup=f"{count * (BATCH if unit == 'tokens' else 1)} {unit}")
    assert run(s)[: count + 1] == [(i + 1) / count for i in range(count)] + [1.0]


def test_a_warm_up_as_a_share():
    rates = run(spec.Constant(warmup=0.5))
    assert rates[0] == 0.01  # not zero, which would waste the first update
    for i in range(1, STEPS + 1):
        assert rates[i] == pytest.approx(max(0.01, min(1, i / (STEPS / 2))), rel=1e-12)


@pytest.mark.parametrize("kind", [spec.Linear, spec.Cosine])
def test_a_warm_up_as_long_as_the_run_still_ends_at_the_floor(kind):
    rates = run(kind(warmup=1.0, floor=0.25))
    assert rates[-2] == 1 - 1 / STEPS and rates[-1] == 0.25
    assert run(spec.WSD(warmup=0.0, decay=0.0, floor=0.25))[-2:] == [1.0, 0.25]


@many
@given(falling | endless.filter(lambda s: s.kind != "amos") | chains)
def test_has_no_jumps(s):
    """A step of 1/n of the run moves the rate by no more than the steepest part: the warm-up, and a fall over
    the shortest stretch there is, in which a cosine is π/2 as steep and 1 − √x falls by √ of its share."""
    rates, warm = run(s), warm_steps(s)
    moments = [warm / STEPS, 1.0]
    if s.kind == "wsd":
        amount, unit = spec.length(s.decay)
        moments.append(1 - amount * {"run": 1, "steps": 1 / STEPS, "tokens": 1 / BATCH / STEPS}[unit])
    elif s.kind == "pieces":
        moments += [piece.until for piece in s.pieces[:-1]]
    elif s.kind == "rsqrt":
        amount, unit = spec.length(s.hold)
        moments.append(amount * {"run": 1, "steps": 1 / STEPS, "tokens": 1 / BATCH / STEPS}[unit])
    stretches = [b - a for a, b in pairwise(sorted({0.0, *moments})) if b - a > 1e-9]
    assume(min(stretches) * STEPS > 4)
    x = 1 / (STEPS * min(stretches))
    steepest = max(math.pi / 2 * x, math.sqrt(x), 1 / max(warm, 1))
    assert all(abs(b - a) <= steepest + 1e-9 for a, b in pairwise(rates))


@many
@given(falling, st.floats(0, 1))
def test_a_unit_is_another_way_of_writing_a_share(s, share):
    """Where the batch does not change, durations in steps, tokens and shares of the same length agree."""
    assume(spec.length(s.warmup).unit != "run")
    steps = warm_steps(s)
    other = s.model_copy(update={"warmup": steps / STEPS})
    rates, theirs = run(s), run(other)
    for step in range(math.ceil(steps), STEPS + 1):
        assert rates[step] == pytest.approx(theirs[step], abs=1e-12)


# ------------------------------------------------------------ by their formulas


def test_rsqrt_is_t5s():
    """Raffel et al. 2020, section 3.1.2: 1/√max(n, k) with a peak of 1/√k."""
    rates = run(spec.Rsqrt(warmup=0.0, hold="100 steps"))
    for n, rate in enumerate(rates):
        assert rate / math.sqrt(100) == pytest.approx(1 / math.sqrt(max(n, 100)), rel=1e-15)


def test_drops():
    rates = run(spec.Drops(warmup=0.0, at=(0.25, "200 steps", f"{300 * BATCH} tokens"), by=0.5))
    assert rates == [1.0] * 100 + [0.5] * 100 + [0.25] * 100 + [0.125] * 101


@pytest.mark.parametrize("half", [0.25, "100 steps", f"{100 * BATCH} tokens"])
@pytest.mark.parametrize("squared", [False, True])
def test_amos_is_a_half_at_half(half, squared):
    """Su 2022: f(T) = ½ with κ = 1/T, squared with κ = (√2 − 1)/T; given as κ, the same curve."""
    rates = run(spec.AmosDecay(warmup=0.0, half=half, squared=squared))
    assert rates[0] == 1 and rates[100] == pytest.approx(0.5, rel=1e-15)
    kappa = (math.sqrt(2) - 1 if squared else 1) / 100
    for t, (rate, other) in enumerate(
        zip(rates, run(spec.AmosDecay(warmup=0.0, kappa=kappa, squared=squared)), strict=True)
    ):
        assert rate == pytest.approx((kappa * t + 1) ** (-2 if squared else -1), rel=1e-12)
        assert rate == pytest.approx(other, rel=1e-12)


def test_gpt3s_cosine_ends_before_the_run():
    """Brown et al. 2020, appendix B: a tenth after 260 B tokens of 300 B, and no further."""
    s = spec.Pieces(warmup=0.0, pieces=(spec.Piece(to=0.1, until="320 steps", shape="cosine"), spec.Piece()))
    rates = run(s)
    for step, rate in enumerate(rates):
        expected = 0.1 + 0.9 * (1 + math.cos(math.pi * min(1, step / 320))) / 2
        assert rate == pytest.approx(expected, abs=1e-15)
    assert rates[320:] == [0.1] * 81


def test_pieces_may_rise_again():
    s = spec.Pieces(warmup=0.0, pieces=tuple(
        spec.Piece(to=to, until=until) for to, until in [(0.2, 0.25), (1.0, 0.5), (None, 0.75), (0.0, None)]
    ))  # fmt: skip
    rates = run(s)
    assert [rates[i] for i in (0, 100, 200, 250, 300, 400)] == [1.0, 0.2, 1.0, 1.0, 1.0, 0.0]
    assert (
        rates[50] == pytest.approx(0.6)
        and rates[150] == pytest.approx(0.6)
        and rates[350] == pytest.approx(0.5)
    )


@many
@given(falling, st.integers(1, 30), st.lists(st.floats(0.1, 10), min_size=20, max_size=100))
def test_rises_and_then_falls_when_time_bounds_the_run(s, warmup, seconds):
    """Steps take uneven time, so progress isn't proportional to steps: what was known is the pace so far."""
    total, done = sum(seconds), 0.0
    s = s.model_copy(update={"warmup": f"{warmup} steps"})
    if s.kind == "wsd":
        s = s.model_copy(update={"decay": 0.25})
    rates = []
    for step, second in enumerate(seconds):
        rates.append(factor(s, Progress(done / total, step)))
        done += second
    rates.append(factor(s, Progress(1.0, len(seconds))))
    top = min(warmup - 1, len(rates) - 2)
    assert all(a < b for a, b in pairwise(rates[: top + 1]))
    if warmup < len(seconds):
        assert rates[warmup - 1] == rates[warmup] == 1.0
        # A warm-up cut short by the end of the run may end below the floor, and then does not fall.
        assert all(a >= b - 1e-12 for a, b in pairwise(rates[top:]))
    assert rates[-1] == s.floor


# ------------------------------------------------------------ against other libraries


def theirs(make, steps=STEPS):
    """The factors of a scheduler of PyTorch's kind, at a peak of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    found = []
    for _ in range(steps + 1):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


AGREE = {
    "torch cosine": (
        spec.Cosine(warmup=0.0, floor=0.1),
        lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=STEPS, eta_min=0.1),
    ),
    "torch linear": (
        spec.Linear(warmup=0.0, floor=0.1),
        lambda o: lr_scheduler.LinearLR(o, start_factor=1.0, end_factor=0.1, total_iters=STEPS),
    ),
    "torch steps": (
        spec.Drops(warmup=0.0, at=("100 steps", "300 steps"), by=0.1),
        lambda o: lr_scheduler.MultiStepLR(o, milestones=[100, 300], gamma=0.1),
    ),
    "torch constant": (spec.Constant(warmup=0.0), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
    "torch one after another": (
        spec.Pieces(warmup=0.0, pieces=(
            spec.Piece(to=0.5, until="100 steps"), spec.Piece(until="200 steps"),
            spec.Piece(to=0.1, shape="cosine"),
        )),
        lambda o: lr_scheduler.LambdaLR(o, lambda t: (
            1 - 0.5 * t / 100 if t < 100 else 0.5 if t < 200
            else 0.1 + 0.4 * (1 + math.cos(math.pi * (t - 200) / 200)) / 2
        )),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AGREE)
def test_agrees_with_torch(name):
    s, make = AGREE[name]
    assert run(s) == pytest.approx(theirs(make), abs=1e-12)


# transformers' warm-ups begin at 0 (their first update does nothing) and are at (step)/n where ours are at
# (step + 1)/n; from the end of the warm-up on, schedules are the same. Their WSD with a floor warms up from
# the floor, so it is compared without one.
WARM = 40
SAME = {
    "cosine": (
        spec.Cosine(warmup=f"{WARM} steps", floor=0.0),
        lambda o: transformers.get_cosine_schedule_with_warmup(o, WARM, STEPS),
    ),
    "cosine to a floor": (
        spec.Cosine(warmup=f"{WARM} steps", floor=0.1),
        lambda o: transformers.optimization.get_cosine_with_min_lr_schedule_with_warmup(
            o, WARM, STEPS, min_lr_rate=0.1
        ),
    ),
    "linear": (
        spec.Linear(warmup=f"{WARM} steps", floor=0.0),
        lambda o: transformers.get_linear_schedule_with_warmup(o, WARM, STEPS),
    ),
    "rsqrt": (
        spec.Rsqrt(warmup=f"{WARM} steps"),
        lambda o: transformers.get_inverse_sqrt_schedule(o, WARM),
    ),
    **{
        f"wsd {shape}": (
            spec.WSD(warmup=f"{WARM} steps", decay="100 steps", shape=ours, floor=0.0),
            lambda o, shape=shape: transformers.get_wsd_schedule(
                o, num_warmup_steps=WARM, num_stable_steps=STEPS - WARM - 100, num_decay_steps=100,
                decay_type=shape,
            ),
        )
        for shape, ours in [("linear", "linear"), ("cosine", "cosine"), ("1-sqrt", "sqrt")]
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_agrees_with_transformers(name):
    s, make = SAME[name]
    ours, expected = run(s), theirs(make)
    assert expected[0] == 0.0 and ours[: WARM - 1] == pytest.approx(expected[1:WARM], abs=1e-12)
    assert ours[WARM:] == pytest.approx(expected[WARM:], abs=1e-12)
