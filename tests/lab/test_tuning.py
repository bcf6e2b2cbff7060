"""Tuning: where the best is found, when points are added, that all sides make the same number of trials."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from danlu import spec
from danlu.lab.errors import LabError
from danlu.lab.queue import Job, Outcome
from danlu.lab.tuning import FIRST_SEED, Grid, Tuned, at, tune
from danlu.spec import resolve

NANO = resolve("nano")
Law = Callable[[spec.Experiment], Any]  # the metric of a run; nan: it diverged; a text: it failed


class Runs:
    """A queue whose runs end at once as a law says."""

    def __init__(self, law: Law) -> None:
        self.law = law
        self.jobs: list[Job] = []

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        self.jobs += jobs
        return [self._outcome(job) for job in jobs]

    def _outcome(self, job: Job) -> Outcome:
        found = self.law(job.experiment)
        if isinstance(found, str):
            return Outcome(job, Path("nowhere"), None, error=found)
        if math.isnan(found):
            return Outcome(job, Path("nowhere"), None, error="the loss is nan", diverged=True)
        return Outcome(job, Path("nowhere"), {"metric": {"value": found}})


def bowl(best: float, bend: float = 0.03, noise: float = 0.0) -> Law:
    """A parabola in log₂ of the rate, with its lowest value 2 at ``best``, and noise by rate and seed."""

    def law(e: spec.Experiment) -> float:
        key = [e.train.seed, round(1e9 * e.optimizer.lr)]
        luck = noise * float(np.random.default_rng(key).normal()) if noise else 0.0
        return 2 + bend * math.log2(e.optimizer.lr / best) ** 2 + luck

    return law


def sought(law: Law, *sides: spec.Experiment, **grid: Any) -> tuple[list[Tuned], Runs]:
    queue = Runs(law)
    return tune(queue, [(f"side {i}", side) for i, side in enumerate(sides)], Grid(**grid)), queue  # type: ignore[arg-type]


@pytest.mark.parametrize("octaves", [-1.2, 0.0, 0.7])
def test_the_vertex_of_a_parabola_is_found_without_more_points(octaves: float) -> None:
    best = 6e-3 * 2**octaves
    (found,), queue = sought(bowl(best), NANO)
    assert found.ok and found.trials == len(queue.jobs) == 10
    assert found.value == found.experiment.optimizer.lr == pytest.approx(best, rel=5e-3)  # three digits
    assert found.low <= best * 1.001 and found.high >= best * 0.999


@pytest.mark.parametrize("octaves", [-5.0, -3.3, 4.4])
def test_a_best_outside_of_the_grid_is_found_by_more_points(octaves: float) -> None:
    best = 6e-3 * 2**octaves
    (found,), _ = sought(bowl(best), NANO)
    assert found.ok and found.value == pytest.approx(best, rel=5e-3) and found.trials in (14, 18)


def test_a_best_out_of_reach_and_a_curve_without_one_are_untuned() -> None:
    (far, flat), queue = sought(
        lambda e: bowl(6e-3 * 2**12)(e) if e.model.layers == 3 else 2.0, NANO, two_layers()
    )
    for found in (far, flat):
        assert not found.ok and "optimizer.lr is untuned" in found.why
        assert found.experiment.optimizer.lr == NANO.optimizer.lr
        assert found.trials == 2 * (5 + 3 * 2)
    assert len(queue.jobs) == far.trials + flat.trials


def test_all_sides_make_the_same_number_of_trials() -> None:
    """The side whose best is inside spends its further trials beside it, at rates that it has not tried."""
    (near, far), queue = sought(
        lambda e: bowl(6e-3 if e.model.layers == 3 else 6e-3 * 2**3.4)(e), NANO, two_layers()
    )
    assert near.ok and far.ok and near.trials == far.trials == 14
    rates = sorted({job.experiment.optimizer.lr for job in queue.jobs if job.experiment.model.layers == 3})
    assert len(rates) == 7 == len(near.curve)
    assert rates == pytest.approx([6e-3 * 2**x for x in (-2, -1, -0.5, 0, 0.5, 1, 2)], rel=5e-3)


def test_the_seeds_are_not_those_of_a_comparison() -> None:
    _, queue = sought(bowl(6e-3), NANO, seeds=3)
    assert {job.experiment.train.seed for job in queue.jobs} == {FIRST_SEED + i for i in range(3)}


def test_a_rate_at_which_a_run_diverges_is_not_the_best() -> None:
    """From an octave above on it diverges; the parabola's vertex is known from below."""
    (found,), _ = sought(lambda e: math.nan if e.optimizer.lr > 1.1e-2 else bowl(5e-3)(e), NANO)
    assert found.ok and found.value == pytest.approx(5e-3, rel=5e-3)
    assert [math.isnan(value) for value in found.curve.values()] == [False, False, False, True, True]
    assert list(found.json()["curve"].values())[3:] == [None, None]


def test_where_higher_is_better_the_top_is_found() -> None:
    digits = resolve("digits")
    law = bowl(2 * digits.optimizer.lr)
    (found,), _ = sought(lambda e: 3 - law(e), digits)
    assert digits.objective.metrics[0].sign == -1
    assert found.value == pytest.approx(2 * digits.optimizer.lr, rel=5e-3)
    assert max(found.curve.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("recipe", ["digits", "siren-photograph", "flow-digits"])
def test_the_best_does_not_depend_on_a_unit_that_is_neither_bits_nor_nats(recipe: str) -> None:
    side = resolve(recipe)
    cost = bowl(side.optimizer.lr * 2**0.4, noise=0.01)
    sign = side.objective.metrics[0].sign
    results = [sought(lambda e, k=k: sign * k * cost(e), side)[0][0] for k in (0.01, 1.0, 100.0)]
    assert results[0].ok
    assert [(r.value, r.trials) for r in results] == [(results[0].value, results[0].trials)] * 3


def test_a_run_that_fails_is_told() -> None:
    with pytest.raises(LabError, match="out of memory; finished runs are kept"):
        sought(lambda e: "out of memory", NANO)


def test_the_excess_of_the_best_found_is_small() -> None:
    """By theory the mean excess is σ²/40c at σ = c = .03 with one run a point, .00075; two halve it. Over 60
    draws of the noise the mean lies below .0015, where that of the lowest point would be .01."""
    excess = []
    for draw in range(60):
        base = resolve(f"nano optimizer.lr={6e-3 * (1 + draw * 1e-3)}")
        (found,), _ = sought(bowl(base.optimizer.lr * 1.3, noise=0.03), base)
        if found.ok:
            excess.append(0.03 * math.log2(found.value / (base.optimizer.lr * 1.3)) ** 2)
    assert len(excess) >= 50 and np.mean(excess) < 0.0015


def test_all_rates_of_an_optimizer_move_together() -> None:
    muon = resolve("nano optimizer=muon optimizer.lr=0.02 optimizer.adamw_lr=6e-3")
    twice = at(muon, "optimizer.lr", 2.0).optimizer.model_dump()
    assert (twice["lr"], twice["adamw_lr"]) == (0.04, 1.2e-2)
    split = resolve("nano optimizer=lion optimizer.embeddings=adamw optimizer.embeddings.lr=2e-3")
    assert at(split, "optimizer.lr", 2.0).optimizer.model_dump()["embeddings"]["lr"] == 4e-3


def test_another_field_moves_alone() -> None:
    half = at(NANO, "optimizer.weight_decay", 0.5)
    assert (
        half.optimizer.weight_decay == NANO.optimizer.weight_decay / 2
        and half.optimizer.lr == NANO.optimizer.lr
    )
    assert at(NANO, "train.batch", 0.7).train.batch == 6
    (found,), _ = sought(lambda e: 2 + math.log2(e.train.batch / 8) ** 2, NANO, field="train.batch")
    assert found.experiment.train.batch == 8


@pytest.mark.parametrize("field", ["optimizer.eta", "schedule.hold", "model.norm"])
def test_what_is_no_number_cannot_be_tuned(field: str) -> None:
    with pytest.raises(LabError, match=f"{field} = .* cannot be tuned"):
        sought(bowl(6e-3), NANO, field=field)


def two_layers() -> spec.Experiment:
    return resolve("nano model.layers=2")
