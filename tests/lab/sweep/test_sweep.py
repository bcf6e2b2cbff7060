"""Whole sweeps over a queue that trains nothing."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from danlu.lab.errors import LabError
from danlu.lab.sweep import sweep
from danlu.spec import Experiment
from tests.lab.sweep.fake import FLOPS, FakeQueue, bowl

GRID = ["nano", "train.steps=30", "optimizer.lr=1e-4..1e0/1", "model.layers=2,3"]
RANGE = ["nano", "train.steps=30", "optimizer.lr=1e-4..1e0", "model.layers=2,3"]
WAYS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "grid": (GRID, {}),
    "seeds": (GRID, {"seeds": 2}),
    "random": (RANGE, {"trials": 9}),
    "halving": (GRID, {"halving": True}),
    "random halving": (RANGE, {"trials": 9, "halving": True}),
    "tpe": (RANGE, {"trials": 13, "sampler": "tpe"}),
    "qmc": (RANGE, {"trials": 9, "sampler": "qmc"}),
    "tpe, two seeds": (RANGE, {"trials": 5, "sampler": "tpe", "seeds": 2, "at_once": 1}),
}


def cliff(experiment: Experiment) -> float:
    """The bowl, which diverges from a rate of 1 on and breaks at 1e-4."""
    lr = experiment.optimizer.lr  # type: ignore[union-attr]
    return math.inf if lr >= 1 else math.nan if lr <= 1e-4 else bowl(experiment)


def run(studies: Path, words: list[str], objective: Any = bowl, **asked: Any) -> tuple[dict[str, Any], int]:
    """The result, and how many runs were carried out."""
    queue = FakeQueue(studies, objective)
    return sweep(words, queue, studies=studies, **asked), len(queue.ran)


def test_a_grid_from_the_best_down(tmp_path: Path) -> None:
    result, ran = run(tmp_path, GRID)
    assert ran == len(result["trials"]) == 10 and result["counts"]["finished"] == 10
    values = [trial["value"] for trial in result["trials"]]
    assert values == sorted(values)
    assert result["best"]["point"] == {"optimizer.lr": 0.01, "model.layers": 2}
    assert result["best"]["value"] == pytest.approx(1.5)
    assert [one["field"] + " " + one["end"] for one in result["border"]] == ["model.layers lower"]
    # Variances by hand: of (−2 … 2)² = 4, 1, 0, 1, 4 it is 2.8, of 0 and 0.1 it is 0.0025; additive.
    assert result["importance"]["shares"] == pytest.approx(
        {"optimizer.lr": 2.8 / 2.8025, "model.layers": 0.0025 / 2.8025}
    )
    assert [row["best"] for row in result["isolation"]["model.layers"]] == pytest.approx([1.5, 1.6])
    assert result["spent"] == {"runs": 10, "updates": 300, "seconds": 5.0, "flops": 300 * FLOPS}
    assert json.loads((Path(result["study"]) / "result.json").read_text()) == result


def test_what_diverged_or_failed_is_shown_and_counted(tmp_path: Path) -> None:
    result, _ = run(tmp_path, GRID, cliff)
    assert result["counts"] == {"finished": 6, "unscored": 0, "diverged": 2, "failed": 2}
    assert [trial["state"] for trial in result["trials"][-4:]] == ["diverged"] * 2 + ["failed"] * 2
    assert {trial["value"] for trial in result["trials"][-4:]} == {None}
    assert result["isolation"]["optimizer.lr"][-1]["diverged"] == 2
    assert "diverged" in Path(result["report"]).read_text()


def test_where_nothing_finished_there_is_no_best(tmp_path: Path) -> None:
    result, _ = run(tmp_path, GRID, lambda _: math.inf)
    assert result["best"] is None and result["border"] == [] and result["counts"]["diverged"] == 10
    halved, ran = run(tmp_path / "halved", GRID, lambda _: math.inf, halving=True)
    assert halved["best"] is None and ran == 10


def test_failed_points_alone_are_run_again_and_only_when_asked(tmp_path: Path) -> None:
    _, first = run(tmp_path, GRID, cliff)
    again, none = run(tmp_path, GRID, bowl)
    assert (first, none) == (10, 0) and again["counts"]["failed"] == 2
    mended, two = run(tmp_path, GRID, bowl, retry=True)
    assert two == 2 and mended["counts"] == {"finished": 8, "unscored": 0, "diverged": 2, "failed": 0}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stop", [0, 4])
def test_killed_and_gone_on_with_it_is_the_same_sweep(tmp_path: Path, way: str, stop: int) -> None:
    words, asked = WAYS[way]
    one, other = tmp_path / "one", tmp_path / "other"
    whole, ran = run(one, words, **asked)
    queue = FakeQueue(other, bowl, stop)
    with pytest.raises(KeyboardInterrupt):
        sweep(words, queue, studies=other, **asked)
    resumed, more = run(other, words, **asked)
    assert len(queue.ran) + more == ran
    assert json.dumps(resumed).replace(str(other), str(one)) == json.dumps(whole)
    assert run(other, words, **asked) == (resumed, 0)


def test_grid_and_random_trials_stand_in_one_table(tmp_path: Path) -> None:
    run(tmp_path, GRID)
    result, ran = run(tmp_path, RANGE, trials=6)
    assert ran == 6 and len(result["trials"]) == 16
    assert {trial["by"] for trial in result["trials"]} == {"grid", "random"}
    assert result["importance"]["by"] == "functional ANOVA of the whole grid"
    more, ran = run(tmp_path, RANGE, trials=8)
    assert ran == 2 and len(more["trials"]) == 18
    with pytest.raises(LabError, match="another study: fields"):
        run(tmp_path, [*GRID, "train.batch=8,16"], name=Path(result["study"]).name)


def test_what_was_not_asked_is_shown_where_it_is_there_and_never_run(tmp_path: Path) -> None:
    run(tmp_path, GRID, halving=True)
    few = [*GRID[:2], "optimizer.lr=1e-3,1e-2", "model.layers=2,3"]
    two, ran = run(tmp_path, few, seeds=2)
    assert ran == 7 and len(two["trials"]) == 4  # one of the eight is the last rung's run
    (warning,) = two["warnings"]
    assert warning.startswith("13 earlier trials of this study are left out") and "2 seeds" in warning
    assert warning in Path(two["report"]).read_text()
    one, ran = run(tmp_path, few)
    assert ran == 0 and len(one["trials"]) == 17 and one["warnings"] == []


def test_a_search_with_more_seeds_is_the_same_whatever_came_before(tmp_path: Path) -> None:
    """Costs of one seed would steer the search of three: here they lead it to the other end of the range."""

    def misled(experiment: Experiment) -> float:
        lr, seed = experiment.optimizer.lr, experiment.train.seed  # type: ignore[union-attr]
        return bowl(experiment) if seed else lr * 1e-3

    asked: dict[str, Any] = {"trials": 16, "sampler": "tpe"}
    run(tmp_path / "one", RANGE, misled, **asked)
    asked["seeds"] = 3
    after, _ = run(tmp_path / "one", RANGE, misled, **asked)
    fresh, _ = run(tmp_path / "other", RANGE, misled, **asked)
    points = [[trial["words"] for trial in found["trials"]] for found in (after, fresh)]
    assert points[0] == points[1] and after["best"]["value"] == fresh["best"]["value"]


def test_a_search_hears_of_a_failed_run_that_was_made_again(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"trials": 14, "sampler": "tpe", "at_once": 1}
    run(tmp_path / "one", RANGE, lambda e: math.nan, **asked)
    mended, _ = run(tmp_path / "one", RANGE, bowl, retry=True, **asked)
    fresh, _ = run(tmp_path / "other", RANGE, bowl, **asked)
    there = {json.dumps(trial["point"]) for trial in mended["trials"] if trial["state"] == "finished"}
    assert there == {json.dumps(trial["point"]) for trial in fresh["trials"]}


def test_halving_spends_what_it_says(tmp_path: Path) -> None:
    result, ran = run(tmp_path, GRID, halving=True)
    said = result["halving"]
    assert [(rung["steps"], rung["points"]) for rung in said["rungs"]] == [(3, 10), (10, 3), (30, 1)]
    assert said["updates"] == said["spent"] == result["spent"]["updates"] == 90 and said["whole"] == 300
    assert ran == 14 and result["best"]["steps"] is None and result["best"]["value"] == pytest.approx(1.5)
    assert result["compared_at"] == 3
    full, more = run(tmp_path, GRID)
    assert more == 9 and len(full["trials"]) == 23  # the last rung is a run of the grid


def test_the_mean_over_seeds_with_its_interval(tmp_path: Path) -> None:
    result, ran = run(tmp_path, GRID, lambda e: bowl(e) + [-1.0, 0.0, 1.0][e.train.seed], seeds=3)
    assert ran == 30
    best = result["best"]
    assert best["value"] == pytest.approx(1.5) and sorted(best["values"]) == pytest.approx([0.5, 1.5, 2.5])
    # Student's t of three values with standard deviation 1: ±4.3027/√3.
    assert best["high"] - best["value"] == pytest.approx(4.30265 / math.sqrt(3), rel=1e-5)
    # Of the variance of a mean, 1/3 is chance; between the points there is 2.8025.
    assert result["importance"]["noise"] == pytest.approx(1 / 3 / 2.8025)


def test_where_more_is_better_more_wins(tmp_path: Path) -> None:
    result, _ = run(tmp_path, GRID, lambda e: 1 / bowl(e), metric="accuracy")
    assert result["best"]["value"] == pytest.approx(1 / 1.5)
    values = [trial["value"] for trial in result["trials"]]
    assert values == sorted(values, reverse=True)
    assert result["isolation"]["model.layers"][1]["best"] == pytest.approx(1 / 1.6)
    assert (result["metric"], result["unit"], result["better"]) == ("accuracy", "share", "higher")


def test_halving_promotes_the_highest_where_higher_is_better(tmp_path: Path) -> None:
    result, _ = run(tmp_path, GRID, lambda e: 1 / bowl(e), metric="accuracy", halving=True)
    assert result["best"]["point"] == {"optimizer.lr": 0.01, "model.layers": 2}
    assert result["best"]["value"] == pytest.approx(1 / 1.5)


def test_optuna_maximises_where_higher_is_better(tmp_path: Path) -> None:
    asked = {"trials": 24, "sampler": "tpe", "metric": "accuracy"}
    result, _ = run(tmp_path, RANGE, lambda e: 1 / bowl(e), **asked)
    import optuna

    journal = optuna.storages.journal.JournalFileBackend(str(Path(result["study"]) / "optuna.journal"))
    (study,) = optuna.storages.JournalStorage(journal).get_all_studies()
    assert [direction.name for direction in study.directions] == ["MAXIMIZE"]
    assert result["best"]["value"] > 0.98 / 1.5  # as near to the top, 1/1.5, as 24 trials come
    kept = optuna.load_study(study_name=study.study_name, storage=optuna.storages.JournalStorage(journal))
    assert kept.best_value == pytest.approx(result["best"]["value"])


def test_a_space_of_several_texts_is_warned_of(tmp_path: Path) -> None:
    words = ["nano", "train.steps=30", "data.corpus=one.txt|two.txt", "model.layers=2,3"]
    result, _ = run(tmp_path, words)
    (warning,) = result["warnings"]
    assert warning == (
        "data.corpus differs between the points: the values would be of different held-out examples"
    )
    assert warning in Path(result["report"]).read_text()
    assert run(tmp_path / "one", GRID)[0]["warnings"] == []


def test_one_seed_that_diverges_makes_the_trial_diverge(tmp_path: Path) -> None:
    result, _ = run(tmp_path, GRID, lambda e: math.inf if e.train.seed else bowl(e), seeds=2)
    assert result["counts"]["diverged"] == 10 and result["best"] is None


@pytest.mark.parametrize(
    ("sampler", "trials"), [("tpe", 24), ("qmc", 24), pytest.param("gp", 14, marks=pytest.mark.slow)]
)
def test_optunas_samplers_find_the_bottom(tmp_path: Path, sampler: str, trials: int) -> None:
    result, ran = run(tmp_path, RANGE, trials=trials, sampler=sampler)
    assert ran == len(result["trials"]) <= trials  # a point that is proposed twice is one trial
    assert {trial["by"] for trial in result["trials"]} == {sampler}
    rates = [trial["point"]["optimizer.lr"] for trial in result["trials"]]
    assert min(rates) >= 1e-4 and max(rates) <= 1
    assert result["best"]["value"] < 1.5 + 0.1 + 0.3**2  # within a factor of two of the best rate
    if sampler == "tpe":  # what is told is used: later proposals are better than the first ones, at random
        asked = [trial["value"] for trial in sorted(result["trials"], key=lambda trial: trial["number"])]
        assert sum(asked[-10:]) < sum(asked[:10])


def test_without_optuna_there_is_still_random_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(LabError, match="pip install 'optuna"):
        run(tmp_path, RANGE, trials=3, sampler="tpe")
    result, _ = run(tmp_path, RANGE, trials=25)
    assert result["counts"]["finished"] == 25 and "not installed" in result["importance"]["by"]


@pytest.mark.parametrize(
    ("words", "asked", "wanted"),
    [
        (GRID, {"sampler": "tp"}, "random, tpe, qmc or gp"),
        (GRID, {"sampler": "tpe"}, "--trials"),
        (GRID, {"sampler": "tpe", "trials": 9, "halving": True}, "--halving"),
        (GRID, {"metric": "bits"}, "no measure 'bits'"),
        (RANGE, {}, "is a range"),
        ([*GRID, "train.seed=0,1"], {"seeds": 2}, "train.seed is a dimension"),
        (["nano", "train.steps=10,20,30"], {"halving": True}, "the same for all points"),
        (["nano", "train.tokens=1M", "optimizer.lr=1,2,3"], {"halving": True}, "train.steps"),
        (["nano", "optimizer.lr=1e-3,x"], {}, "at optimizer.lr=x: .*number"),
        (["nano", "optimizer.lr=1e-3..1", "model.width=64,65"], {"sampler": "tpe", "trials": 3}, "divide"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, words: list[str], asked: dict[str, Any], wanted: str
) -> None:
    with pytest.raises(LabError, match=wanted):
        run(tmp_path, words, **asked)
    assert list(tmp_path.iterdir()) == []
