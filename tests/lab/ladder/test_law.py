"""The law of a ladder: textbook intervals, honest coverage, known worlds recovered."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from danlu.lab.budget import Budget
from danlu.lab.errors import LabError
from danlu.lab.ladder.climb import points_csv
from danlu.lab.ladder.law import LadderLaw, Run, fitted, held_out, points_of
from danlu.lab.ladder.plan import Plan, make_plan
from danlu.lab.ladder.target import aim, check_reach, wanted
from danlu.laws import Points, Read, law, predict
from danlu.laws.answer import answer
from danlu.laws.formulas.chinchilla import optimum
from danlu.laws.solve import SQUARES
from danlu.spec import Metric
from tests.lab.ladder import worlds

BITS = Metric("bits_per_byte", "bits/byte", "lower")
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


def read_of(runs: list[Run], design: str, folder: Path) -> Read:
    """The runs' points, through the file that a ladder writes."""
    path = folder / "points.csv"
    path.write_text(points_csv(runs, BITS))
    return points_of(path, design)


def law_of(runs: list[Run], design: str, folder: Path) -> LadderLaw:
    return fitted(read_of(runs, design, folder), design)


def ladder(budget: str = "2e13flop", **settings: object) -> Plan:
    return make_plan(worlds.shapes(), Budget.parse(budget), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("seeds", [1, 3])
def test_intervals_of_a_power_law_are_those_of_linear_regression(seeds: int, tmp_path: Path) -> None:
    """The prediction interval of ln L on ln C, from SciPy's slope and the textbook's formula."""
    made = ladder(seeds=seeds)
    runs = runs_of(made, power, 0.01)
    law = law_of(runs, "chinchilla", tmp_path)
    assert law.fit.law.name == "power" and law.intervals == "student"  # of four sizes
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


def test_nothing_is_claimed_where_nothing_is_left_to_test(tmp_path: Path) -> None:
    runs = [run for run in runs_of(ladder(), power, 0.01) if run.rung.level < 2]
    found = law_of(runs, "chinchilla", tmp_path).at(1, 1, 1e14)
    assert (found.low, found.high) == (0.0, math.inf) and found.value > 0
    with pytest.raises(LabError, match="two levels"):
        law_of(runs[:1], "chinchilla", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 2])
def test_the_interval_of_a_held_out_rung_covers(seeds: int, tmp_path: Path) -> None:
    """95 % of held-out rungs lie inside. Of 300 fewer than 273 would with probability 1e-3 (binomial)."""
    made = ladder(seeds=seeds)
    inside = 0
    for seed in range(300):
        runs = runs_of(made, power, 0.01, seed)
        (one,) = held_out(runs, read_of(runs, "chinchilla", tmp_path), "chinchilla", 1)
        inside += one.inside
    assert 273 <= inside <= 297
    assert stats.binom.cdf(272, 300, 0.95) < 2e-3 > stats.binom.sf(297, 300, 0.95)


def test_what_is_held_out_does_not_move_its_own_prediction(tmp_path: Path) -> None:
    runs = runs_of(ladder(), power, 0.01)
    got = read_of(runs, "chinchilla", tmp_path)
    (before,) = held_out(runs, got, "chinchilla", 1)
    last = runs[-1]
    moved = [*runs[:-1], Run(last.rung, 0, last.parameters, last.tokens, last.flops, 9.0, 9.0, 1.0, "r")]
    (after,) = held_out(moved, read_of(moved, "chinchilla", tmp_path), "chinchilla", 1)
    assert after.predicted == before.predicted and after.measured == pytest.approx(9.0)
    assert not after.inside and after.error < -0.5
    assert held_out(runs, got, "chinchilla", 0) == []


def test_a_floor_is_fitted_where_levels_tell_it(tmp_path: Path) -> None:
    def floored(n: float, d: float, c: float) -> float:
        return 1.0 + 3e3 * c**-0.3

    law = law_of(runs_of(ladder("1e15flop", rungs=6), floored, 0.0), "chinchilla", tmp_path)
    assert law.fit.law.name == "power-floor"
    assert law.fit.theta["c"] == pytest.approx(1.0, rel=1e-3)
    few = law_of(runs_of(ladder(rungs=4), floored, 0.0), "chinchilla", tmp_path)
    assert few.fit.law.name == "power" and any("floor" in note for note in few.notes)


def test_profiles_recover_the_law_of_size_and_data(tmp_path: Path) -> None:
    made = ladder("2e14flop", design="isoflop", rungs=3)
    law = law_of(runs_of(made, chinchilla, 0.0), "isoflop", tmp_path)
    for name, value in THETA.items():
        assert law.fit.theta[name] == pytest.approx(value, rel=1e-2), name
    noisy = runs_of(made, chinchilla, 1e-3, 1)
    for one in held_out(noisy, read_of(noisy, "isoflop", tmp_path), "isoflop", 1):
        assert abs(one.error) < 0.02


def test_the_target_is_the_best_size_by_the_law(tmp_path: Path) -> None:
    """Under C = FLOPs of the parts, not 6·N·D: no neighbouring shape has a lower loss at its own tokens."""
    made = ladder("5e13flop", design="isoflop", rungs=3)
    law = law_of(runs_of(made, chinchilla, 0.0), "isoflop", tmp_path)
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


@pytest.mark.parametrize(("design", "rungs", "seeds"), [("chinchilla", 7, 2), ("isoflop", 5, 1)])
def test_a_place_is_told_as_by_the_fit_and_the_prediction_of_the_same_points(
    design: str, rungs: int, seeds: int, tmp_path: Path
) -> None:
    """To the last bit; of seven levels some fits to smaller budgets can be scored, too."""
    made = ladder("1e15flop", design=design, rungs=rungs, seeds=seeds)
    runs = runs_of(made, power if design == "chinchilla" else chinchilla, 0.005)
    mine = law_of(runs, design, tmp_path)
    assert mine.intervals == "resamples" and mine.answer.calibration is not None
    got = points_of(tmp_path / "points.csv", design)
    by_hand = answer(mine.fit.law, got.points, loss=SQUARES, rungs=2, table=got.others)
    last = runs[-1]
    for times in (0.5, 2.0, 5.0, 20.0):
        n, d, c = last.parameters, times * last.tokens, times * last.flops
        place = {"x": c} if design == "chinchilla" else {"n": n, "d": d}
        told, said = mine.told(n, d, c), predict(by_hand.saved, place, far=True)
        assert told.loss == (said.value[0], said.run_low[0], said.run_high[0])
        # The file says that x is the compute.
        assert (told.reach, told.measured) == (said.reach[0], said.said[0].replace("est x,", "est compute,"))
        alone = mine.at(n, d, c)
        assert alone == (said.value[0], said.mean_low[0], said.mean_high[0])
        several = mine.told(n, d, c, runs=4).loss
        assert told.loss.low <= several.low <= alone.low and alone.high <= several.high <= told.loss.high
        if times == 5.0 and design == "chinchilla":
            assert "largest compute," in told.measured
    assert told.reach > 10 and told.warnings[0].code in ("beyond", "far-beyond")
    assert told.warnings[0].startswith("compute = ")
    # Farther than any smaller budget could be tested, no error is told as measured, and the warning says so.
    calibration = mine.answer.calibration
    assert (calibration.farthest < told.reach) == (not told.measured)
    assert told.measured or "no measured error speaks for so far" in told.warnings[0]
    audit = mine.answer.audit
    assert audit is not None and "sweep" not in {one.code for one in audit.said}  # seeds are repeats


def test_a_law_of_one_size_is_calibrated_by_it() -> None:
    """So that a place of it is told how extrapolations as far went, whatever other sizes the points have."""
    x = np.geomspace(1e10, 1e14, 12)
    loss = 40 * x**-0.11 * np.exp(0.003 * np.random.default_rng(3).standard_normal(12))
    points = Points(x=x, n=np.geomspace(1e4, 1e6, 12), d=np.geomspace(1e6, 1e8, 12), loss=loss)
    found = answer(law("power"), points)
    assert found.calibration is not None and found.calibration.by == "x"
    assert found.held is not None and found.held.by == "x"
    said = predict(found.saved, {"x": 4e14})
    assert said.said[0].startswith("3 to 10 times beyond")


def test_what_lies_farther_than_the_rungs_span_is_refused_before_they_run() -> None:
    made = ladder()
    compute = [rung.flops for rung in made.rungs]
    span = max(compute) / min(compute)
    check_reach(made, 0.99 * span * max(compute), None)
    with pytest.raises(LabError, match=r"times the largest rung, and the rungs span .* or --far"):
        check_reach(made, 1.01 * span * max(compute), None)
    check_reach(made, None, None)
    check_reach(made, None, made.rungs[-1].sized.parameters)
    with pytest.raises(LabError, match="aim nearer"):
        check_reach(made, None, 100 * made.rungs[-1].sized.parameters)


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
