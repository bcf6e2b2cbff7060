"""The plan of a ladder: within its budget, geometric, each rung at its rate."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from danlu.files.json import write_json
from danlu.lab.budget import Budget
from danlu.lab.errors import LabError
from danlu.lab.ladder.plan import GROWTH, Pace, make_plan, pace_of
from danlu.models import build
from danlu.optim.build import assign
from tests.lab.ladder import worlds


def plan(budget: str = "2e13flop", *words: str, **settings: Any) -> Any:
    return make_plan(worlds.shapes(*words), Budget.parse(budget), **settings)


@pytest.mark.parametrize(
    ("budget", "seeds", "design"),
    [("4e12flop", 1, "chinchilla"), ("1e14flop", 3, "chinchilla"), ("2e13flop", 2, "isoflop")],
)
def test_what_the_parts_count_stays_within_the_budget(budget: str, seeds: int, design: str) -> None:
    made = plan(budget, seeds=seeds, design=design, per_parameter=5)
    counted = sum(worlds.flops_of(rung.seeded(seed)) for rung in made.rungs for seed in range(seeds))
    assert made.flops == counted <= Budget.parse(budget).amount
    assert [rung.flops for rung in made.rungs] == [worlds.flops_of(rung.experiment) for rung in made.rungs]


def test_the_budget_is_used() -> None:
    """No rung could be made three times as large: then the next larger plan would fit."""
    for budget in ("1e13flop", "1e14flop"):
        assert plan(budget).flops > Budget.parse(budget).amount / 3


def test_levels_are_geometric_in_compute() -> None:
    """As near as whole layers and whole heads permit: compute goes with about the square of parameters, of
    which the nearest shape has at most 1.3 times too many or too few at this size."""
    made = plan("1e15flop", rungs=5)
    compute = [rung.flops for rung in made.rungs]
    assert made.levels == 5
    for small, large in pairwise(compute):
        assert GROWTH / 1.7 < large / small < GROWTH * 1.7
    assert math.isclose((compute[-1] / compute[0]) ** (1 / 4), GROWTH, rel_tol=0.15)


def test_each_parameter_reads_its_tokens() -> None:
    for rung in plan(per_parameter=7.5).rungs:
        update = rung.experiment.train.batch * rung.experiment.data.context
        assert 0 <= 7.5 * rung.sized.parameters - rung.tokens < update
        assert rung.tokens == rung.steps * update == rung.experiment.train.steps * update


def test_the_sizes_of_a_level_cost_the_same() -> None:
    made = plan("1e14flop", design="isoflop", rungs=3)
    for level in range(3):
        rungs = [rung for rung in made.rungs if rung.level == level]
        assert len(rungs) >= 4
        most = max(rung.sized.flops_per_update for rung in rungs)
        assert max(rung.flops for rung in rungs) - min(rung.flops for rung in rungs) <= most


def test_under_mup_the_rate_is_the_recipes_and_kernels_follow_the_width() -> None:
    made = plan(rates="mup")
    recipe = worlds.shapes().recipe
    for rung in made.rungs:
        assert rung.experiment.optimizer == recipe.experiment.optimizer
        assert rung.experiment.model.base_width == recipe.width
        with torch.device("meta"):
            model = build(rung.experiment.model, worlds.IDS, rung.experiment.data.context)
        rates = {(found.of.role, found.settings["lr"]) for found in assign(rung.experiment.optimizer, model)}
        expected = recipe.experiment.optimizer.lr * recipe.width / rung.sized.width
        assert [lr for role, lr in rates if role == "kernel"] == [pytest.approx(expected)]
        assert {lr for role, lr in rates if role == "embedding"} == {recipe.experiment.optimizer.lr}


def test_by_the_law_rates_follow_its_powers() -> None:
    """Equation 1 of the Step Law, η ∝ N^−0.713·D^0.307, through the recipe's own rate."""
    recipe = worlds.shapes().recipe
    own = 300 * 16 * 64  # tokens of the recipe's run
    for rung in plan(rates="law").rungs:
        expected = 6e-3 * (rung.sized.parameters / recipe.parameters) ** -0.713
        expected *= (20 * rung.sized.parameters / own) ** 0.307
        assert rung.rate == pytest.approx(expected, rel=5e-3)  # three digits
        assert rung.experiment.model.base_width is None


def test_fixed_rates_and_rates_of_a_fit(tmp_path: Path) -> None:
    assert {rung.rate for rung in plan(rates="fixed").rungs} == {6e-3}
    path = tmp_path / "rates.json"
    write_json(path, {"law": "rate-c", "parameters": {"k": 0.3, "e_C": -0.125}, "draws": []})
    for rung in plan(rates=str(path)).rungs:
        compute = rung.sized.flops * 20 * rung.sized.parameters
        assert rung.rate == pytest.approx(0.3 * compute**-0.125, rel=5e-3)


def test_seeds_change_nothing_but_the_seed() -> None:
    rung = plan().rungs[0]
    changed = rung.seeded(2).model_dump()
    assert changed["train"].pop("seed") == rung.experiment.train.seed + 2
    same = rung.experiment.model_dump()
    del same["train"]["seed"]
    assert changed == same


def test_a_budget_of_seconds_is_counted_by_the_pace() -> None:
    pace = Pace(fixed=2e-3, per_flop=1e-11)
    made = plan("300s", measured=lambda: pace, seeds=2)
    seconds = 2 * sum(rung.steps * (2e-3 + 1e-11 * rung.sized.flops_per_update) for rung in made.rungs)
    assert made.seconds == pytest.approx(seconds) and 100 < seconds <= 300


def test_a_pace_goes_through_what_was_measured() -> None:
    small, large = (worlds.shapes().of_size(size) for size in (3e4, 1e6))
    pace = pace_of((small, large), (0.004, 0.03))
    assert (pace.of(small), pace.of(large)) == (pytest.approx(0.004), pytest.approx(0.03))
    assert pace_of((small, large), (0.03, 0.004)) == Pace(0.03, 0.0)  # nothing grows: the dearer of the two


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"budget": "1e9flop"}, r"take .* FLOP at least"),
        ({"budget": "2M"}, "in FLOP or seconds"),
        ({"rungs": 2}, "allowed: 3 to 30"),
        ({"seeds": 0}, "allowed: 1 to 1,000"),
        ({"design": "isoflops"}, "did you mean isoflop"),
        ({"rates": "mupp"}, "did you mean mup"),
        ({"per_parameter": 0.0}, "above zero"),
    ],
)
def test_wrong_settings_are_told(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(LabError, match=said):
        plan(**settings)


def test_rates_by_a_law_of_adam_are_refused_to_other_rules() -> None:
    with pytest.raises(LabError, match=r"optimizer\.kind = muon"):
        plan("2e13flop", "optimizer.kind=muon", rates="law")
