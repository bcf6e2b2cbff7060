"""The law of a ladder: textbook intervals, honest coverage, known worlds recovered."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from danlu.lab.budget import Budget
from danlu.lab.errors import LabError
from danlu.lab.ladder.law import Run, fitted, held_out
from danlu.lab.ladder.plan import Plan, make_plan
from danlu.lab.ladder.target import aim, wanted
from danlu.laws.formulas.chinchilla import optimum
from tests.lab.ladder import worlds

THETA = {"E": 1.2, "A": 60.0, "B": 400.0, "α": 0.35, "β": 0.37}


def power(n: float, d: float, c: float) -> float:
    return 40.0 * c**-0.11


def chinchilla(n: float, d: float, c: float) -> float:
    E, A, B, alpha, beta = THETA.values()
    return float(E + A / n**alpha + B / d**beta)


def runs_of(plan: Plan, loss: worlds.LossOf, noise: float, seed: int = 0) -> list[Run]:
    draw = np.random.default_rng(seed)
    runs = []
    for rung in plan.rungs:
        for number in range(plan.seeds):
            size = rung.sized.parameters
            value = loss(size, rung.tokens, rung.flops) * math.exp(noise * draw.standard_normal())
            runs.append(
                Run(
                    rung,
                    number,
                    size,
                    rung.tokens,
                    rung.flops,
                    value,
                    value * worlds.PER_BYTE,
                    worlds.PER_BYTE,
                    "r",
                )
            )
    return runs


def ladder(budget: str = "2e13flop", **settings: object) -> Plan:
    return make_plan(worlds.shapes(), Budget.parse(budget), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("seeds", [1, 3])
def test_intervals_of_a_power_law_are_those_of_linear_regression(seeds: int) -> None:
    """The prediction interval of ln L on ln C, from SciPy's slope and the textbook's formula."""
    made = ladder(seeds=seeds)
    runs = runs_of(made, power, 0.01)
    law = fitted(runs, "chinchilla")
    assert law.fit.law.name == "power"
    x, y = np.log([run.flops for run in runs]), np.log([run.loss for run in runs])
    line, n = stats.linregress(x, y), len(x)
    assert law.fit.theta["b"] == pytest.approx(-line.slope, rel=1e-6)
    at = np.log(1e14)
    s = math.sqrt(((y - line.intercept - line.slope * x) ** 2).sum() / (n - 2))
    spread = 1 / n + (at - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()
    for runs_there in (1, 4, math.inf):
        half = stats.t.ppf(0.975, n - 2) * s * math.sqrt(spread + 1 / runs_there)
        found = law.at(1, 1, 1e14, runs=runs_there)
        middle = line.intercept + line.slope * at
        expected = np.exp([middle, middle - half, middle + half])
        assert np.allclose([found.value, found.low, found.high], expected, rtol=1e-6)


def test_nothing_is_claimed_where_nothing_is_left_to_test() -> None:
    runs = [run for run in runs_of(ladder(), power, 0.01) if run.rung.level < 2]
    found = fitted(runs, "chinchilla").at(1, 1, 1e14)
    assert (found.low, found.high) == (0.0, math.inf) and found.value > 0
    with pytest.raises(LabError, match="two levels"):
        fitted(runs[:1], "chinchilla")


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_interval_of_a_held_out_rung_covers(seeds: int) -> None:
    """95 % of held-out rungs lie inside. Of 300 fewer than 273 would with probability 1e-3 (binomial)."""
    made = ladder(seeds=seeds)
    inside = 0
    for seed in range(300):
        (one,) = held_out(runs_of(made, power, 0.01, seed), "chinchilla", 1)
        inside += one.inside
    assert 273 <= inside <= 297
    assert stats.binom.cdf(272, 300, 0.95) < 2e-3 > stats.binom.sf(297, 300, 0.95)


def test_what_is_held_out_does_not_move_its_own_prediction() -> None:
    runs = runs_of(ladder(), power, 0.01)
    (before,) = held_out(runs, "chinchilla", 1)
    last = runs[-1]
    moved = [*runs[:-1], Run(last.rung, 0, last.parameters, last.tokens, last.flops, 9.0, 9.0, 1.0, "r")]
    (after,) = held_out(moved, "chinchilla", 1)
    assert after.predicted == before.predicted and after.measured == pytest.approx(9.0)
    assert not after.inside and after.error < -0.5
    assert held_out(runs, "chinchilla", 0) == []


def test_a_floor_is_fitted_where_levels_tell_it() -> None:
    def floored(n: float, d: float, c: float) -> float:
        return 1.0 + 3e3 * c**-0.3

    law = fitted(runs_of(ladder("1e15flop", rungs=6), floored, 0.0), "chinchilla")
    assert law.fit.law.name == "power-floor"
    assert law.fit.theta["c"] == pytest.approx(1.0, rel=1e-3)
    few = fitted(runs_of(ladder(rungs=4), floored, 0.0), "chinchilla")
    assert few.fit.law.name == "power" and any("floor" in note for note in few.notes)


def test_profiles_recover_the_law_of_size_and_data() -> None:
    made = ladder("2e14flop", design="isoflop", rungs=3)
    law = fitted(runs_of(made, chinchilla, 0.0), "isoflop")
    for name, value in THETA.items():
        assert law.fit.theta[name] == pytest.approx(value, rel=1e-2), name
    for one in held_out(runs_of(made, chinchilla, 1e-3, 1), "isoflop", 1):
        assert abs(one.error) < 0.02


def test_the_target_is_the_best_size_by_the_law() -> None:
    """Under C = FLOPs of the parts, not 6·N·D: no neighbouring shape has a lower loss at its own tokens."""
    made = ladder("5e13flop", design="isoflop", rungs=3)
    law = fitted(runs_of(made, chinchilla, 0.0), "isoflop")
    target = aim(made, law, ["nano"], 2e14, None, 1.0)
    sized = target.rung.sized
    assert target.rung.flops == pytest.approx(2e14, rel=1e-3)
    for times in (0.5, 0.8, 1.25, 2.0):
        other = made.shapes.of_size(times * sized.parameters)
        assert chinchilla(other.parameters, 2e14 / other.flops, 2e14) >= target.loss.value * (1 - 1e-4)
    theory = float(optimum(np.array(list(THETA.values())), 2e14)[0])
    assert 0.5 < sized.parameters / theory < 2
    fixed = aim(made, law, ["nano"], None, 500_000, 1.0)
    assert fixed.rung.sized == made.shapes.of_size(500_000)


def test_what_may_be_aimed_at() -> None:
    assert wanted("1e17flop", None) == (1e17, None)
    assert wanted(None, "10M") == (None, 10_000_000)
    assert wanted(None, None) == (None, None)
    for flops, parameters, said in [
        ("1e17flop", "10M", "not both"), ("10M", None, "in FLOP"), (None, "many", "number of parameters"),
        (None, "0", "number of parameters"),
    ]:  # fmt: skip
        with pytest.raises(LabError, match=said):
            wanted(flops, parameters)
