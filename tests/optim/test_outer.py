"""Outer steps against torch's own Nesterov, against each other, and against what the sources write down."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from danlu import spec
from danlu.nn.registry import build
from danlu.optim import outer
from danlu.optim.outer import Outer, Team, nesterov, pairs, places

NAMES = ["embedding.weight", "blocks.0.out.weight", "blocks.1.out.weight", "norm.weight"]
SHAPES = [(5, 3), (4, 4), (4, 4), (7,)]
EXACT = {"rtol": 0.0, "atol": 1e-12}


def drawn(seed: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in SHAPES]


def team(s: spec.Outer) -> tuple[Team, list[Tensor], Outer]:
    theta = drawn(0)
    workers = Team(s.workers, theta)
    return workers, theta, build(s, workers, theta, NAMES)


def move(weights: list[Tensor], step: int, worker: int) -> None:
    """An inner update: it depends on the weights, on the update and on who makes it."""
    for w, n in zip(weights, drawn(1000 * step + worker), strict=True):
        w.sub_(0.1 * w + 0.05 * n)


def train(s: spec.Outer, steps: int, order: list[int] | None = None, finish: bool = True) -> list[Tensor]:
    """The global weights after ``steps``; the place ``i`` of the team is worker ``order[i]``."""
    workers, theta, rule = team(s)
    for step in range(steps):
        for place, weights in enumerate(workers.weights):
            move(weights, step, order[place] if order else place)
        rule.after(step + 1)
    if finish:
        rule.finish(steps)
    rule.gather()
    return theta


def test_an_outer_step_is_torchs_nesterov() -> None:
    theta, velocity = drawn(0), [torch.zeros(shape, dtype=torch.float64) for shape in SHAPES]
    theirs = [torch.nn.Parameter(t.clone()) for t in theta]
    sgd = torch.optim.SGD(theirs, lr=0.7, momentum=0.9, nesterov=True)
    for step in range(5):
        delta = drawn(step + 1)
        nesterov(theta, velocity, delta, 0.7, 0.9)
        for p, g in zip(theirs, delta, strict=True):
            p.grad = g.clone()
        sgd.step()
        torch.testing.assert_close(theta, [p.detach() for p in theirs], **EXACT)


def test_the_first_step_is_one_and_a_third_differences() -> None:
    theta, delta = drawn(0), drawn(1)
    before = outer.copied(theta)
    nesterov(theta, [torch.zeros_like(t) for t in theta], delta, 0.7, 0.9)
    for now, old, change in zip(theta, before, delta, strict=True):
        torch.testing.assert_close(now, old - 1.33 * change, **EXACT)


@pytest.mark.parametrize("every", [1, 3, 7])
@pytest.mark.parametrize("s", [spec.DiLoCo, spec.Eager], ids=["diloco", "eager"])
def test_one_worker_at_rate_one_is_the_inner_run(s: type[spec.Rounds], every: int) -> None:
    alone = drawn(0)
    for step in range(14):
        move(alone, step, 0)
    found = train(s(workers=1, every=every, lr=1.0, momentum=0.0), 14)
    torch.testing.assert_close(found, alone, **EXACT)


def test_without_momentum_it_is_plain_averaging() -> None:
    theta = drawn(0)
    for round_ in range(4):
        each = [outer.copied(theta) for _ in range(3)]
        for worker, step in itertools.product(range(3), range(5)):
            move(each[worker], 5 * round_ + step, worker)
        theta = [torch.stack(ts).mean(0) for ts in zip(*each, strict=True)]
    found = train(spec.DiLoCo(workers=3, every=5, lr=1.0, momentum=0.0), 20)
    torch.testing.assert_close(found, theta, **EXACT)


@pytest.mark.parametrize(
    "s",
    [
        spec.DiLoCo(workers=4, every=5),
        spec.DiLoCo(workers=4, every=6, fragments=2, delay=2, mix=0.5),
        spec.DiLoCo(workers=4, every=5, bits=4),
        spec.DiLoCo(workers=4, every=5, bits=2, levels="statistical", feedback=0.9),
        spec.Eager(workers=4, every=5),
    ],
    ids=["diloco", "streaming", "4bit", "2bit", "eager"],
)
def test_the_order_of_workers_changes_nothing(s: spec.Outer) -> None:
    torch.testing.assert_close(train(s, 17, [2, 0, 3, 1]), train(s, 17), **EXACT)


def test_one_fragment_without_delay_is_algorithm_1() -> None:
    """DiLoCo as the paper writes it, its outer step made by ``torch.optim.SGD``."""
    theta = [torch.nn.Parameter(t) for t in drawn(0)]
    sgd = torch.optim.SGD(theta, lr=0.7, momentum=0.9, nesterov=True)
    for round_ in range(3):
        each = [outer.copied(list(theta)) for _ in range(4)]
        for worker, step in itertools.product(range(4), range(6)):
            move(each[worker], 6 * round_ + step, worker)
        for p, *ts in zip(theta, *each, strict=True):
            p.grad = p.detach() - torch.stack(ts).mean(0)
        sgd.step()
    found = train(spec.DiLoCo(workers=4, every=6, fragments=1, delay=0), 18)
    torch.testing.assert_close(found, [p.detach() for p in theta], **EXACT)


def test_fragments_are_diloco_of_each_at_its_own_offset() -> None:
    s = spec.DiLoCo(workers=2, every=6, fragments=2)
    workers, theta, rule = team(s)
    ends: list[tuple[int, int]] = []
    for step in range(12):
        for place, weights in enumerate(workers.weights):
            move(weights, step, place)
        before = outer.copied(theta)
        rule.after(step + 1)
        changed = [not torch.equal(*pair) for pair in zip(theta, before, strict=True)]
        ends += [(step + 1, place) for place, moved in enumerate(changed) if moved]
    assert places(NAMES, 2) == [[0, 1, 3], [2]]
    assert ends == [(3, 2), (6, 0), (6, 1), (6, 3), (9, 2), (12, 0), (12, 1), (12, 3)]


def test_a_delayed_difference_is_of_when_it_was_sent_and_mixes_in() -> None:
    s = spec.DiLoCo(workers=2, every=4, delay=2, mix=0.25)
    workers, theta, rule = team(s)
    sent: list[Tensor] = []
    for step in range(6):
        for place, weights in enumerate(workers.weights):
            move(weights, step, place)
        if step == 3:
            means = [torch.stack(ts).mean(0) for ts in zip(*workers.weights, strict=True)]
            sent = [t - m for t, m in zip(theta, means, strict=True)]
        before, own = outer.copied(theta), [outer.copied(w) for w in workers.weights]
        rule.after(step + 1)
        if step < 5:
            assert all(map(torch.equal, theta, before))
    wanted = [t - 1.33 * d for t, d in zip(before, sent, strict=True)]
    torch.testing.assert_close(theta, wanted, **EXACT)
    for weights, old in zip(workers.weights, own, strict=True):
        mixed = [0.25 * o + 0.75 * t for o, t in zip(old, wanted, strict=True)]
        torch.testing.assert_close(weights, mixed, **EXACT)


def test_eager_counts_every_difference_once() -> None:
    """With rate 1 and no momentum the slow weights of all workers meet, after the end, where plain averaging
    of differences that don't depend on the weights does."""
    s = spec.Eager(workers=3, every=2, lr=1.0, momentum=0.0)
    workers, theta, rule = team(s)
    total = outer.copied(theta)
    for step in range(6):
        for place, weights in enumerate(workers.weights):
            for w, t, n in zip(weights, total, drawn(10 * step + place), strict=True):
                w.add_(n)
                t.add_(n / 3)
        rule.after(step + 1)
    rule.finish(6)
    rule.gather()
    torch.testing.assert_close(theta, total, **EXACT)
    for own in rule.own:
        torch.testing.assert_close(own["slow"], total, **EXACT)


def test_eager_takes_its_own_now_and_the_others_a_round_later() -> None:
    s = spec.Eager(workers=2, every=1, lr=0.7, momentum=0.9)
    workers, _, rule = team(s)
    slow, velocity, before = drawn(0), [torch.zeros_like(t) for t in drawn(0)], None
    for step in range(4):
        for place, weights in enumerate(workers.weights):
            move(weights, step, place)
        own = [f - w for f, w in zip(rule.own[0]["slow"], workers.weights[0], strict=True)]
        other = [f - w for f, w in zip(rule.own[1]["slow"], workers.weights[1], strict=True)]
        stale = before or [torch.zeros_like(t) for t in own]
        nesterov(slow, velocity, [(a + b) / 2 for a, b in zip(own, stale, strict=True)], 0.7, 0.9)
        rule.after(step + 1)
        torch.testing.assert_close(rule.own[0]["slow"], slow, **EXACT)
        torch.testing.assert_close(workers.weights[0], slow, **EXACT)
        before = other


@pytest.mark.parametrize(("lr", "radius"), [(0.7, 1.142), (0.4, 0.994)])
def test_eager_steps_overshoot_where_a_round_goes_all_the_way(lr: float, radius: float) -> None:
    """Workers that are at their aim, 0, after each round: the slow weights grow as the recurrence of
    docs/diloco.md does, by the largest root of its matrix."""
    step = np.array([
        [1 - lr * 1.9 / 4, -lr * 1.9 * 3 / 4, -lr * 0.81],
        [1, 0, 0],
        [1 / 4, 3 / 4, 0.9],
    ])  # fmt: skip
    assert max(abs(np.linalg.eigvals(step))) == pytest.approx(radius, abs=5e-4)
    workers, theta, rule = team(spec.Eager(workers=4, every=1, lr=lr, momentum=0.9))
    first = outer.copied(theta)
    state = np.array([1.0, 0.0, 0.0])  # nothing of the others comes in the first round
    for round in range(1, 60):
        for weights in workers.weights:
            torch._foreach_zero_(weights)
        rule.after(round)
        state = step @ state
        rule.gather()
        for found, one in zip(theta, first, strict=True):
            torch.testing.assert_close(found, float(state[0]) * one, rtol=1e-9, atol=1e-9)


def test_noloco_is_its_formula() -> None:
    s = spec.NoLoCo(workers=4, every=3)
    workers, theta, rule = team(s)
    slow, delta = [drawn(0) for _ in range(4)], [[torch.zeros_like(t) for t in theta] for _ in range(4)]
    for step in range(9):
        for place, weights in enumerate(workers.weights):
            move(weights, step, place)
        change = [
            [w - f for w, f in zip(*pair, strict=True)] for pair in zip(workers.weights, slow, strict=True)
        ]
        rule.after(step + 1)
        if (step + 1) % 3:
            continue
        old = [outer.copied(one) for one in slow]
        for i, j in enumerate(pairs(4, step + 1)):
            for k in range(len(theta)):
                step_ = 0.7 * (change[i][k] + change[j][k]) / 2 + 0.7 * (
                    (old[i][k] + old[j][k]) / 2 - old[i][k]
                )
                delta[i][k] = 0.5 * delta[i][k] + step_
                slow[i][k] = old[i][k] + delta[i][k]
        for i in range(4):
            torch.testing.assert_close(rule.own[i]["slow"], slow[i], **EXACT)
            torch.testing.assert_close(workers.weights[i], slow[i], **EXACT)
    rule.gather()
    torch.testing.assert_close(theta, [torch.stack(ts).mean(0) for ts in zip(*slow, strict=True)], **EXACT)


def test_two_in_a_pair_are_diloco_with_heavy_ball() -> None:
    """Both have the same slow weights for ever: mean φ − φᵢ is 0."""
    s = spec.NoLoCo(workers=2, every=2, lr=0.7, momentum=0.5)
    theta, velocity = drawn(0), [torch.zeros_like(t) for t in drawn(0)]
    for round_ in range(3):
        each = [outer.copied(theta) for _ in range(2)]
        for worker, step in itertools.product(range(2), range(2)):
            move(each[worker], 2 * round_ + step, worker)
        for k, (one, other) in enumerate(zip(*each, strict=True)):
            velocity[k] = 0.5 * velocity[k] + 0.7 * ((one + other) / 2 - theta[k])
            theta[k] = theta[k] + velocity[k]
    torch.testing.assert_close(train(s, 6), theta, **EXACT)


@pytest.mark.parametrize("workers", [2, 6])
def test_pairs_pair_everybody_and_change(workers: int) -> None:
    seen = set()
    for step in range(1, 60):
        found = pairs(workers, step)
        assert all(found[found[i]] == i != found[i] for i in range(workers))
        seen.add(tuple(found))
    assert len(seen) == {2: 1, 6: 15}[workers]  # all the ways there are


@pytest.mark.parametrize("levels", ["powers", "linear", "statistical"])
@pytest.mark.parametrize("beta", [1.0, 0.9])
@pytest.mark.parametrize("more", [{}, {"fragments": 2, "delay": 2}], ids=["whole", "streaming"])
def test_what_is_sent_and_what_is_kept_are_the_differences(levels: str, beta: float, more: dict) -> None:
    """Error feedback loses nothing: with β = 1 all that a worker sent and what it keeps are the sum of its
    differences; with less, what it kept fades by β a round. In float64, to 1e-12."""
    s = spec.DiLoCo(workers=2, every=6, bits=2, levels=levels, feedback=beta, **more)
    workers, theta, rule = team(s)
    changes = [[torch.zeros_like(t) for t in theta] for _ in range(2)]
    sent = [[torch.zeros_like(t) for t in theta] for _ in range(2)]
    short = rule.short

    def spy(delta: list[Tensor], own: dict[str, list[Tensor]], places: list[int]) -> list[Tensor]:
        worker = next(number for number, one in enumerate(rule.own) if one is own)
        found = short([t.clone() for t in delta], own, places)
        for place, change, given in zip(places, delta, found, strict=True):
            changes[worker][place].mul_(beta).add_(change)
            sent[worker][place].mul_(beta).add_(given)
        return found

    rule.short = spy
    for step in range(24):
        for place, weights in enumerate(workers.weights):
            move(weights, step, place)
        rule.after(step + 1)
    for worker, own in enumerate(rule.own):
        for change, given, kept in zip(changes[worker], sent[worker], own["error"], strict=True):
            assert float(kept.abs().max()) > 1e-3  # two bits do leave something out
            torch.testing.assert_close(given + kept, change, **EXACT)


def test_without_rounding_feedback_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round in which nothing is lost has nothing to give back: the same as in full precision."""
    monkeypatch.setitem(outer.LEVELS, "linear", lambda x, bits: x.clone())
    few = spec.DiLoCo(workers=3, every=5, bits=2, levels="linear", feedback=0.9)
    torch.testing.assert_close(train(few, 20), train(spec.DiLoCo(workers=3, every=5), 20), **EXACT)


@pytest.mark.parametrize(
    "s",
    [
        spec.DiLoCo(workers=4, every=5),
        spec.DiLoCo(workers=4, every=8, fragments=2, delay=3),
        spec.Eager(workers=4, every=5),
        spec.NoLoCo(workers=4, every=5),
    ],
    ids=["diloco", "streaming", "eager", "noloco"],
)
@pytest.mark.parametrize("steps", [15, 16, 18])
def test_an_end_is_an_end_once(s: spec.Outer, steps: int) -> None:
    """Ended in the middle of a round, or after one, and again: the same; nothing of the workers is lost."""
    workers, theta, rule = team(s)
    for step in range(steps):
        for place, weights in enumerate(workers.weights):
            move(weights, step, place)
        rule.after(step + 1)
    rule.finish(steps)
    rule.gather()
    once = outer.copied(theta)
    rule.finish(steps)
    rule.gather()
    assert all(map(torch.equal, theta, once))
    mean = [torch.stack(ts).mean(0) for ts in zip(*workers.weights, strict=True)]
    torch.testing.assert_close(theta, mean, **EXACT)
