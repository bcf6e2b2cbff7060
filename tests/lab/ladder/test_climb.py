"""A whole ladder: in a world whose law is known, and once for real."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path
from typing import Any

import pytest

from danlu.cli.main import main
from danlu.lab.errors import LabError
from danlu.lab.ladder import Ladder, climb
from danlu.lab.queue import Job
from danlu.laws import load, read
from danlu.spec import Causal, Metric, resolve
from danlu.spec.errors import SpecError
from tests.chinese import left, texts
from tests.lab.ladder.test_law import chinchilla, power
from tests.lab.ladder.worlds import PER_BYTE, World
from tests.train import small


@pytest.fixture
def words(tmp_path: Path) -> tuple[str, ...]:
    return "nano", f"data.corpus={small.corpus(tmp_path)}"


def ladder(words: tuple[str, ...], **settings: Any) -> Ladder:
    return Ladder(words, **{"budget": "2e13flop", "tokens_per_parameter": 10.0} | settings)


def test_a_known_law_is_found_and_predicts(tmp_path: Path, words: tuple[str, ...]) -> None:
    world = World(power, noise=0.002)
    result = climb(ladder(words, seeds=2, target="1e15flop", far=True), tmp_path / "studies", queue_of=world)
    assert result["law"]["parameters"]["b"] == pytest.approx(0.11, abs=0.01)
    (held,) = result["held_out"]
    assert held["inside"] and abs(held["error"]) < 0.02 and held["runs"] == 2
    target = result["target"]
    assert target["flops"] == pytest.approx(1e15, rel=0.7)  # the nearest shape at ten tokens a parameter
    expected = power(0, 0, target["flops"])
    assert target["loss"]["low"] < expected < target["loss"]["high"]
    assert target["metric"]["value"] == pytest.approx(target["loss"]["value"] * PER_BYTE)
    assert (result["metric"], result["unit"], result["better"]) == ("bits_per_byte", "bits/byte", "lower")
    assert result["loss"] == {"name": "held_out_loss", "unit": "nats/token"}
    assert held["sentence"].endswith(", inside the interval") and "nats/token" in held["sentence"]
    assert result == json.loads(json.dumps(result, allow_nan=False))
    study = Path(result["study"])
    assert json.loads((study / "result.json").read_text()) == result
    assert result["law"]["intervals"] == "student" and any("Student's" in one for one in result["warnings"])
    with pytest.raises(LabError, match="--far"):
        climb(ladder(words, seeds=2, target="1e15flop"), tmp_path / "studies", queue_of=world)
    assert "<svg" in (study / "report.html").read_text()


@pytest.mark.parametrize("design", ["chinchilla", "isoflop"])
def test_the_target_is_told_as_by_danlu_laws_predict(
    tmp_path: Path, words: tuple[str, ...], design: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the ladder's folder, and of a fit to its points by hand: the same interval, to the last bit."""
    world = World(power if design == "chinchilla" else chinchilla, noise=0.005)
    asked = ladder(words, design=design, rungs=7 if design == "chinchilla" else 4, budget="1e15flop")
    result = climb(asked, tmp_path / "studies", queue_of=world)
    target, study = result["target"], Path(result["study"])
    assert result["law"]["intervals"] == "resamples" and result["calibration"] and result["audit"]

    def danlu(*words: object) -> Any:
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        assert not left.value.code
        return json.loads(capsys.readouterr().out)

    place = (
        {"x": target["flops"]}
        if design == "chinchilla"
        else {"n": target["parameters"], "d": target["tokens"]}
    )
    at = "--at=" + ",".join(f"{name}={value!r}" for name, value in place.items())
    column = ["--column", "x=c"] if design == "chinchilla" else []
    (tmp_path / "hand.json").write_text(json.dumps(danlu(
        "laws", "fit", study / "points.csv", "--law", result["law"]["law"], *column, "--loss", "mse", "--json"
    )))  # fmt: skip
    for source in (study, study / "law.json", tmp_path / "hand.json"):
        (said,) = danlu("laws", "predict", source, at, "--far", "--json")["predictions"]
        assert said["run"] == target["loss"], source
        assert (said["reach"], said["calibration"]) == (target["reach"], target["calibration"])
    assert result["calibration"] == load(study).calibration.json()
    if design == "isoflop":
        planned = danlu(
            "laws",
            "plan",
            "--by",
            study,
            "--parameters",
            place["n"],
            "--tokens",
            place["d"],
            "--far",
            "--json",
        )
        run_line = next(one for one in planned["plan"] if one["key"] == "loss_run")
        assert {name: run_line[name] for name in ("value", "low", "high")} == target["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("design", ["chinchilla", "isoflop"])
def test_the_page_in_chinese_links_to_the_runs(
    tmp_path: Path, words: tuple[str, ...], design: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DANLU_LANG", "zh")
    world = World(power if design == "chinchilla" else chinchilla, noise=0.002)
    result = climb(ladder(words, design=design), tmp_path / "studies", queue_of=world)
    page = Path(result["study"], "report.html").read_text()
    names = (*words, *(Path(run["run"]).name for run in result["runs"]), "none", "ln loss")
    assert '<html lang="zh-CN">' in page and left(texts(page), names) == []
    assert page.count('<a href="./') == len(result["runs"]) and "<td>model.width</td>" in page


def test_without_an_interval_nothing_is_inside_it(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Two runs fit the two parameters of the law exactly: there is no interval around what it predicts."""
    result = climb(ladder(words, rungs=3), tmp_path / "studies", queue_of=World(power, noise=0.01))
    (held,) = result["held_out"]
    assert held["predicted"]["high"] is None and held["inside"] is None
    assert "(no interval)" in held["sentence"] and "inside" not in held["sentence"]
    assert not any("outside its interval" in warning for warning in result["warnings"])
    assert "inside" not in Path(result["study"], "report.html").read_text()


def test_a_metric_that_does_not_follow_from_the_loss_is_not_foretold(
    tmp_path: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metric("accuracy", "", "higher"), Metric("cross_entropy", "nats/image", "lower")
    monkeypatch.setattr(Causal, "metrics", property(lambda self: metrics))
    world = World(power, metrics=lambda loss: {"accuracy": math.exp(-loss), "cross_entropy": loss})
    result = climb(ladder(words), tmp_path / "studies", queue_of=world)
    assert (result["metric"], result["better"]) == ("accuracy", "higher")
    assert result["loss"] == {"name": "cross_entropy", "unit": "nats/image"}
    assert result["target"]["metric"] is None and result["target"]["loss"]["value"] > 0
    assert all(run["metric"] == pytest.approx(math.exp(-run["loss"])) for run in result["runs"])
    assert result["law"]["parameters"]["b"] == pytest.approx(0.11, abs=1e-6)  # fitted to the loss
    assert "nats/image" in result["held_out"][0]["sentence"]
    head = Path(result["points"]).read_text().splitlines()[0]
    assert head == "n,d,c,loss,steps,lr,level,seed,accuracy,run"


def test_the_command_is_the_experiment(tmp_path: Path, words: tuple[str, ...]) -> None:
    result = climb(ladder(words, rates="law"), tmp_path / "studies", queue_of=World(power))
    target = result["target"]
    danlu, train, *said = shlex.split(target["command"])
    experiment = resolve(said)
    assert (danlu, train) == ("danlu", "train")
    assert experiment.model.layers == target["layers"] and experiment.model.width == target["width"]
    assert experiment.train.steps == target["steps"] and experiment.optimizer.lr == target["lr"]
    assert experiment.train.compile == resolve(list(words)).train.compile


def test_a_second_ladder_runs_nothing_twice(tmp_path: Path, words: tuple[str, ...]) -> None:
    world = World(power, noise=0.01)
    first = climb(ladder(words), tmp_path / "studies", queue_of=world)
    done = list(world.carried_out)
    assert climb(ladder(words), tmp_path / "studies", queue_of=world) == first
    assert world.carried_out == done and len(done) == 4
    # Another target, another rung held out: the same runs.
    climb(ladder(words, target_parameters="1M", hold_out=2), tmp_path / "studies", queue_of=world)
    assert world.carried_out == done
    with pytest.raises(LabError, match="holds another study: seeds is 1 there, 2 here"):
        climb(ladder(words, seeds=2), tmp_path / "studies", queue_of=world)
    climb(ladder(words, seeds=2), tmp_path / "studies", name="other", queue_of=world)
    assert (tmp_path / "studies" / "other" / "result.json").exists()


def test_points_are_read_by_danlu_laws(tmp_path: Path, words: tuple[str, ...]) -> None:
    result = climb(ladder(words, design="isoflop", rungs=3), tmp_path / "studies", queue_of=World(chinchilla))
    by_table = read(Path(result["points"])).points
    by_runs = read(tmp_path / "studies" / "runs").points
    for name, own in (("n", "parameters"), ("d", "tokens"), ("c", "flops"), ("loss", "loss")):
        told = sorted(run[own] for run in result["runs"])
        assert sorted(by_table[name].tolist()) == pytest.approx(told, rel=1e-12)
        if name != "c":  # of a folder of runs counted up to the last row logged, or by 6·N·D
            assert sorted(by_runs[name].tolist()) == pytest.approx(told, rel=1e-12)
    assert result["law"]["law"] == "chinchilla" and result["allocation"] is not None


def test_a_diverged_run_is_left_out_and_told(tmp_path: Path, words: tuple[str, ...]) -> None:
    def wrong(job: Job) -> str | None:
        return "the loss is not finite" if job.experiment.train.seed == 1 else None

    world = World(power, wrong=wrong)
    result = climb(ladder(words, seeds=2), tmp_path / "studies", queue_of=world)
    assert {run["seed"] for run in result["runs"]} == {0} and len(result["runs"]) == 4
    assert sum("diverged and is left out" in warning for warning in result["warnings"]) == 4
    with pytest.raises(LabError, match="0 ended well"):
        climb(ladder(words), tmp_path / "s", queue_of=World(power, wrong=lambda job: "no"))


def test_a_dry_run_leaves_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    told: list[Any] = []
    result = climb(ladder(words), tmp_path / "studies", dry_run=True, on_plan=told.append)
    assert not (tmp_path / "studies").exists()
    (plan,) = told
    assert result["flops"] == plan.flops and len(result["rungs"]) == 4
    assert any("the law knows only fresh ones" in warning for warning in result["warnings"])


def test_seconds_are_planned_by_the_measured_pace(tmp_path: Path, words: tuple[str, ...]) -> None:
    world = World(power)
    result = climb(ladder(words, budget="100s"), tmp_path / "studies", queue_of=world)
    spent = sum(rung["steps"] * 2e-3 + 1e-12 * rung["flops"] for rung in result["rungs"])
    assert result["seconds"] == pytest.approx(spent, rel=1e-6) and 30 < spent <= 100
    assert result["target"]["seconds"] > 0
    again = climb(ladder(words, budget="100s"), tmp_path / "studies", queue_of=world)
    assert again == result and len(world.carried_out) == 4 + 2


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"hold_out": 3}, LabError, "allowed: 0 to 2"),
        ({"hold_out": -1}, LabError, "allowed: 0 to 2"),
        ({"target": "1e17"}, LabError, "in FLOP"),
        ({"budget": "much"}, LabError, "budget = 'much'"),
        ({"words": ("nanoo",)}, SpecError, "did you mean nano"),
    ],
)
def test_wrong_input_is_told_before_anything_runs(
    tmp_path: Path, words: tuple[str, ...], settings: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        climb(Ladder(**{"words": words, "budget": "2e13flop"} | settings), tmp_path / "studies")
    assert not (tmp_path / "studies").exists()


@pytest.mark.slow
def test_for_real(tmp_path: Path) -> None:
    """Three rungs that train, through the queue: the FLOPs of the runs are those of the plan, exactly."""
    corpus = small.corpus(tmp_path, documents=60)
    asked = Ladder(
        ("nano", f"data.corpus={corpus}", "data.context=16", "train.batch=8", "train.evaluate_tokens=400"),
        budget="4e10flop", rungs=3, tokens_per_parameter=0.5,
    )  # fmt: skip
    result = climb(asked, tmp_path / "studies")
    planned = [(rung["parameters"], rung["tokens"], rung["flops"]) for rung in result["rungs"]]
    assert [(run["parameters"], run["tokens"], run["flops"]) for run in result["runs"]] == planned
    assert sum(run["flops"] for run in result["runs"]) <= 4e10
    assert all(0 < run["loss"] < math.log(257) + 1 for run in result["runs"])
    assert climb(asked, tmp_path / "studies") == result


def test_a_law_that_bends_is_told(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Beyond 6e12 FLOP, which only the largest rung has, the loss is a tenth above the law."""
    bent = World(lambda n, d, c: power(n, d, c) * (1.1 if c > 6e12 else 1.0))
    result = climb(ladder(words), tmp_path / "studies", queue_of=bent)
    (held,) = result["held_out"]
    assert held["flops"] > 6e12 and not held["inside"] and held["error"] == pytest.approx(1 / 1.1 - 1)
    assert any("outside its interval" in warning for warning in result["warnings"])
