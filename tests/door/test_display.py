"""What a notebook shows holds what it should, escapes the rest, and styles nothing else."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.dom import minidom

import pytest

import danlu
from danlu.cli.main import main
from danlu.door import ladder as ladders
from danlu.door import sweep as sweeps
from danlu.door.ladder import Ladder
from danlu.door.record import Record
from danlu.draw.picture import png
from danlu.lab import queue
from danlu.lab.statistics import Interval
from danlu.lab.trial import study, timing
from danlu.lab.trial.timing import Ratio
from tests.lab.ledger.entries import EARLY, add
from tests.lab.reading.folders import ACCURACY, make_run
from tests.lab.sweep.fake import FakeQueue, bowl
from tests.lab.trial.cases import InProcess, baseline

ALLOWED = {"div", "table", "tr", "th", "td", "figure", "img", "figcaption"}


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.add(tag)


def check(shown: Any, charts: int) -> str:
    """The HTML of what a notebook shows, with so many charts."""
    bundle = shown._repr_mimebundle_()
    html: str = bundle["text/html"]
    tags = Tags()
    tags.feed(html)
    assert tags.found <= ALLOWED
    drawings = [base64.b64decode(one).decode() for one in re.findall(r'svg\+xml;base64,([^"]+)', html)]
    assert (
        len(drawings) == charts
        and [bundle[key] for key in ("image/svg+xml",) if key in bundle] == drawings[:1]
    )
    for drawing in drawings:
        minidom.parseString(drawing)
    assert bundle["text/plain"] == repr(shown) and "\n" not in repr(shown)
    return html


def test_runs_and_a_run(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "<script>&1", "nano", {1: 0.5, 2: 0.75}, metric=ACCURACY, held_out="x")
    html = check(danlu.run(folder), charts=2)
    assert "&lt;script&gt;&amp;1" in html and "0.7500" in html
    runs = danlu.runs(tmp_path, where="steps=2", sort="best")
    assert "&lt;script&gt;" in check(runs, charts=1) and runs.to_dict()[0]["metric"]["value"] == 0.75
    assert json.loads(json.dumps(runs.to_dict())) == runs.to_dict()
    assert check(danlu.runs(tmp_path, where=["steps=3"]), charts=0)


def test_a_run_with_the_last_of_its_pictures(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", "nano", {1: 0.5})
    (folder / "samples").mkdir()
    for step in (9, 10):
        (folder / "samples" / f"step-{step}.png").write_bytes(png(bytes([step]), 1, 1, 1))
    html = check(danlu.run(folder), charts=2)
    (shown,) = re.findall(r'png;base64,([^"]+)', html)
    assert base64.b64decode(shown) == png(bytes([10]), 1, 1, 1) and "what it made, step 10" in html


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    """What a verb printed as JSON, without the schema that Python's results don't need."""
    said = json.loads(capsys.readouterr().out)
    for one in said if isinstance(said, list) else [said]:
        assert one.pop("schema").startswith("danlu.")
    return said


def test_a_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the command prints, by attribute; runs may be given as they are."""
    folders = [
        str(make_run(tmp_path / "<a>", "nano", {1: 3.0, 2: 2.5})),
        str(make_run(tmp_path / "b", "nano optimizer.lr=0.5", {1: 3.5, 2: 2.75})),
    ]
    found = danlu.compare(*folders)
    with pytest.raises(SystemExit):
        main(["compare", *folders, "--json"])
    assert found.to_dict() == printed(capsys)
    assert found.meetings[0].differences[0].value == 0.25
    assert [side.final for side in found.sides] == [(2.5,), (2.75,)]
    html = check(found, charts=2)  # the paired difference, the curves
    assert "&lt;a&gt;" in html and "optimizer.lr" in html and "+0.2500" in html
    same = danlu.compare(danlu.run(folders[0]), *danlu.runs(folders[1]), x="time")
    assert same == found
    with pytest.raises(danlu.spec.DanluError, match="--x = hours is none of steps, time, flops, tokens"):
        danlu.compare(*folders, x="hours")
    with pytest.raises(danlu.spec.DanluError, match="compare needs two sides or more, not 1"):
        danlu.compare(folders[0])


def test_a_run_under_way(tmp_path: Path) -> None:
    run = danlu.run(make_run(tmp_path / "run", "nano", {1: 3.0}, finished=False, metric=ACCURACY))
    assert (run.state, run.metric, run.metric.better, run.summary) == ("stopped", 3.0, "higher", None)
    check(run, charts=2)


class Entered(FakeQueue):
    """A queue that trains nothing, as a verb enters it."""

    def __init__(self, studies: Path, **_: Any) -> None:
        super().__init__(studies, bowl)

    def __enter__(self) -> Entered:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def in_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for module in (study, ladders):
        monkeypatch.setattr(module, "Queue", lambda studies, **_: InProcess(studies))
    monkeypatch.setattr(timing, "measure", lambda *_: Ratio(Interval(1.0, 0.99, 1.01), "<b>a test</b>"))


def test_ideas(tmp_path: Path, in_process: None) -> None:
    trial = danlu.try_ideas("swiglu", on=baseline(tmp_path), seeds=2, tune=None, progress=False, layers=2)
    assert [verdict.at for verdict in trial] == ["steps", "flops", "time"] and len(trial) == 3
    verdict = trial.at("steps")[0]
    assert verdict.idea == "+swiglu" and verdict.pairs[0].seed == 0
    low, high = verdict.interval
    assert low <= verdict.difference <= high
    assert repr(verdict).startswith(
        f"+swiglu at equal steps: {verdict.verdict} (early), {verdict.difference:+.4f} bits/byte ("
    )
    assert verdict.to_dict() == trial.to_dict()[0]
    assert trial.to_dict() == json.loads((trial.folder / "result.json").read_text())  # what --json prints
    assert trial.report.read_text().startswith("<!doctype html>") and Path("ledger.yaml").exists()
    assert "layers=2" in check(trial, charts=1)
    check(verdict, charts=1)
    with pytest.raises(danlu.spec.DanluError, match=r"did you mean [+]swiglu[?]"):
        danlu.try_ideas("swiglo")


@pytest.mark.parametrize(
    "ask",
    [lambda: danlu.try_ideas([]), lambda: danlu.try_across_scale(3), lambda: danlu.try_ideas("x", on=3)],
)
def test_what_is_no_word_is_refused_in_a_sentence(ask: Callable[[], object]) -> None:
    with pytest.raises(danlu.spec.DanluError, match="is no text and no path"):
        ask()


def test_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(danlu.spec.DanluError, match=r"there is no ledger typo.yaml"):
        danlu.ledger("typo.yaml")
    assert len(danlu.ledger()) == 0 and danlu.ledger().judge().asked == 0
    gain: dict[str, Any] = {"value": 1.05, "low": 1.01, "high": 1.09}
    add(Path("ledger.yaml"), idea="<gqa>", regime=EARLY, e=9.0, gain=gain, rungs=[gain, gain])
    found = danlu.ledger()
    assert (found[0].verdict, found[0].regime.updates) == ("better", 300)
    for words, shown in ([], found), (["search", "gqa"], found.search("gqa")), (["judge"], found.judge()):
        with pytest.raises(SystemExit):
            main(["ledger", *words, "--json"])
        assert shown.to_dict() == printed(capsys)
        check(shown, charts=0)
    assert "1 question asked; 1 better (early)" in check(found.judge(), charts=0)
    assert found.decide(found[0].id, "adopt", "so").weak and found[0].decision == "adopt"
    with pytest.raises(danlu.spec.DanluError, match="adopt, reject or undecided"):
        found.decide(found[0].id, "adpt", "so")


def test_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for module in (sweeps, queue):
        monkeypatch.setattr(module, "Queue", Entered)
    found = danlu.sweep("nano", lr=[1e-3, 1e-2], layers="2,3", steps=30, workers=1)
    assert found.fields == ("optimizer.lr", "model.layers") and len(found.trials) == 4
    assert found.best.value == found["best"]["value"] == 1.5  # the bottom of the bowl
    assert found.best.point["optimizer.lr"] == 1e-2
    words = ["nano", "optimizer.lr=0.001|0.01", "model.layers=2,3", "train.steps=30"]
    with pytest.raises(SystemExit):
        main(["sweep", *words, "--json", "--workers", "1"])
    assert found.to_dict() == printed(capsys)
    assert danlu.sweep(*words, workers=1) == found
    check(found, charts=2)
    with pytest.raises(danlu.spec.DanluError, match=r"^no word spans a space"):
        danlu.sweep("nano", lr=1e-3)
    with pytest.raises(danlu.spec.DanluError, match="--seeds"):
        danlu.sweep("nano", lr=[1e-3, 1e-2], seeds=0)


def test_the_plan_of_a_ladder(in_process: None) -> None:
    plan = danlu.ladder("nano", budget="1e14flop", dry_run=True, seed=3)
    assert plan.words == ("nano", "train.seed=3") and len(plan.rungs) == 4
    check(plan, charts=0)


def test_a_ladder() -> None:
    """Of a result as ``danlu ladder --json`` prints it."""
    ends = {"value": 2.0, "low": 1.5, "high": None}
    run = {
        "level": 0,
        "seed": 0,
        "parameters": 1e5,
        "tokens": 1e6,
        "flops": 1e12,
        "loss": 3.0,
        "metric": 4.0,
        "run": "<i>",
    }
    found = Ladder({
        "words": ["nano"], "flops": 1e13, "rungs": [], "metric": "bits_per_byte",
        "loss": {"name": "held_out_loss", "unit": "nats per token"},
        "runs": [run, run | {"flops": 1e13, "loss": 2.5}],
        "held_out": [{"flops": 1e13, "predicted": ends, "sentence": "as <foretold>"}],
        "target": {"flops": 1e14, "loss": ends, "command": "danlu train nano"}, "warnings": ["mind <this>"],
    })  # fmt: skip
    html = check(found, charts=1)
    assert "&lt;i&gt;" in html and "as &lt;foretold&gt;" in html and "mind &lt;this&gt;" in html
    assert repr(found) == "<ladder of nano: held_out_loss of the target 2.0000 (no interval)>"


def test_a_record() -> None:
    told = {"best": {"words": ["a"], "values": [1, {"b": 2}]}, "items": 3}
    found = Record(told)
    assert found.best.values[1].b == 2 and found.items == 3 and found["best"]["words"] == ("a",)
    assert list(found) == ["best", "items"] and "best" in found and "best" in dir(found)
    found.to_dict()["best"]["words"].append("b")
    assert found.to_dict() == told
    with pytest.raises(AttributeError, match=r"^there is no 'worst' here, but best, items$"):
        _ = found.worst
