"""What a study takes is counted before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.files.errors import DanluError
from danlu.lab.budget import bounded, flops
from danlu.lab.trial import Question
from danlu.lab.trial.cost import planned
from danlu.mcp.inside import Refused
from danlu.mcp.price import price
from danlu.mcp.questions import QUESTION
from danlu.spec import resolve
from tests.mcp.small import ON, TRY


def test_a_trial_is_priced_as_danlu_plans_it() -> None:
    """At most: the runs that are planned, and, where rates are tuned, the points that may come beyond: three
    times two, with two seeds, on each side."""
    for tune in ("none", "lr"):
        said = TRY | {
            "ideas": ["optimizer.beta2=0.9", "swiglu"],
            "seeds": 3,
            "tune": tune,
            "budget": "60 steps",
        }
        found = price(QUESTION.validate_python(said))
        asked = Question(tuple(said["ideas"]), ON, 3, None, None if tune == "none" else tune)
        beyond = 0 if tune == "none" else 3 * (3 * 2) * 2
        same = 3  # of equal FLOPs, where an update of an idea has as many
        assert found.runs == sum(planned(asked)) + beyond + 1 - same  # one measures the speed


def test_flops_are_those_of_its_runs() -> None:
    """Untuned, two pairs: two runs of the baseline, and of the idea two, and two of equal time; an
    optimizer's setting changes no FLOPs, so that those of equal steps are of equal FLOPs."""
    one = flops(bounded(resolve(ON), 6))
    pace = flops(bounded(resolve(ON), 40))  # of the run that measures the speed
    assert price(QUESTION.validate_python(TRY)).flops == pytest.approx(6 * one + pace)
    longer = price(QUESTION.validate_python(TRY | {"budget": "60 steps"}))
    assert longer.flops == pytest.approx(60 * one + pace)


def test_a_sweep_is_its_dearest_point_times_its_points() -> None:
    said = {"kind": "sweep", "experiment": [*ON.split(), "model.layers=1,2"], "seeds": 3}
    found = price(QUESTION.validate_python(said))
    dear = flops(bounded(resolve(f"{ON} model.layers=2"), 6))
    assert (found.runs, found.flops) == (6, pytest.approx(6 * dear))


def test_a_ladder_is_priced_by_its_plan() -> None:
    said = {
        "kind": "ladder",
        "experiment": ON.split(),
        "budget": "4e11flop",
        "rungs": 3,
        "tokens_per_parameter": 1,
    }
    found = price(QUESTION.validate_python(said))
    assert found.runs == 3 and found.flops == pytest.approx(4e11, rel=0.5)  # sizes are whole heads


def test_a_length_in_seconds_has_no_price() -> None:
    found = price(QUESTION.validate_python(TRY | {"budget": "60s"}))
    assert found.flops is None and "in steps, tokens or FLOPs" in found.why


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (TRY | {"ideas": ["train.seed=3"]}, "which an idea may not: pairs share their seeds"),
        (
            TRY | {"ideas": ["data.corpus=synthetic:reverse-4"]},
            "other held-out examples|which an idea may not",
        ),
        (TRY | {"ideas": ["objective=prefix"]}, "which an idea may not|objective"),
        (TRY | {"ideas": ["train.steps=12"]}, "which an idea may not"),
        (TRY | {"ideas": ["qk-nrom"]}, "did you mean"),
        (TRY | {"ideas": ["optimizer.beta2=0.99", "optimizer.beta2=0.99"]}, "given twice"),
        ({"kind": "sweep", "experiment": [*ON.split(), "train.seed=0,1,2"]}, "best of several seeds is luck"),
        ({"kind": "sweep", "experiment": [*ON.split(), "lr=1e-3..1e-1"]}, "no end; say how many trials"),
        ({"kind": "ladder", "experiment": ["nano"], "budget": "60s"}, "in FLOPs here"),
    ],
)
def test_what_is_refused_before_it_runs(said: dict[str, object], why: str) -> None:
    with pytest.raises(DanluError, match=why):
        price(QUESTION.validate_python(said))


def test_an_idea_in_a_file_may_not_read_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "book.txt").write_text("text " * 100)
    monkeypatch.chdir(work)
    Path("mine.yaml").write_text(f"data: {{corpus: {tmp_path / 'book.txt'}}}\n")
    Path("bed.yaml").write_text(f"base: nano\ndata: {{corpus: {tmp_path / 'book.txt'}}}\n")
    for said in (TRY | {"on": "bed.yaml"}, {"kind": "sweep", "experiment": ["bed.yaml", "lr=1e-3,1e-2"]}):
        question = QUESTION.validate_python(said)
        question.check()
        with pytest.raises(Refused, match="outside of the working folder"):
            price(question)
