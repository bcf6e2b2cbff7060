"""What may be asked: each question is a command that danlu takes, and equal ones have one handle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import ValidationError

from danlu import code
from danlu.cli.main import app
from danlu.mcp.inside import Refused
from danlu.mcp.questions import QUESTION, Asked, Referee

EVERY: list[dict[str, Any]] = [
    {"kind": "try", "ideas": ["qk-norm", "optimizer.beta2=0.99"]},
    {"kind": "try", "ideas": ["swiglu"], "on": "nano train.steps=6", "seeds": 2, "budget": "500 steps",
     "tune": "none", "stop_early": True},
    {"kind": "across-scale", "ideas": ["lion"], "on": "nano", "rungs": 2, "seeds": 3},
    {"kind": "sweep", "experiment": ["nano", "lr=1e-3..1e-1/2"], "seeds": 2, "trials": 4, "sampler": "qmc",
     "metric": "loss"},
    {"kind": "sweep", "experiment": ["nano", "model.layers=2,3"], "halving": True},
    {"kind": "ladder", "experiment": ["nano"], "target": "1e14flop"},
    {"kind": "ladder", "experiment": ["nano"], "budget": "2e12flop", "target_parameters": "10M",
     "rates": "fixed"},
    {"kind": "referee", "pairs": 3},
    {"kind": "laws", "file": "points.csv", "law": "chinchilla"},
    {"kind": "laws", "file": "points.csv", "n": "7B", "d": "1e11"},
]  # fmt: skip


def read(said: dict[str, Any]) -> Asked:
    return QUESTION.validate_python(said)


@pytest.mark.parametrize("said", EVERY, ids=lambda said: said["kind"])
def test_its_command_is_one_of_danlu(said: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The verb's own parser reads back what was asked."""
    monkeypatch.setattr(Referee, "file", Path("referee.yaml"))
    question = read(said)
    verb, *rest = question.command()
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    if verb == "laws":
        command, rest = command.commands[rest[0]], rest[1:]
    given = command.make_context(verb, rest).params
    assert given["as_json"] is True
    assert given.get("across_scale", False) is (said["kind"] == "across-scale")
    words = {"experiment": "words", "file": "source"}
    for name, value in said.items():
        name = words.get(name, name)
        if name in ("kind", "file"):
            continue
        found = given[name] if name in given else given["file"]
        assert [str(one) for one in found] == value if isinstance(value, list) else str(found) == str(value)


def test_equal_questions_have_one_handle_and_others_another() -> None:
    first = read(EVERY[0])
    assert read({**EVERY[0], "seeds": 5, "on": ""}).name == first.name  # what was left out is said
    names = {read(said).name for said in EVERY}
    assert len(names) == len(EVERY)
    assert read({**EVERY[0], "seeds": 6}).name != first.name


def test_after_an_edit_of_the_code_it_is_another_study(monkeypatch: pytest.MonkeyPatch) -> None:
    before = read(EVERY[0]).name
    monkeypatch.setattr(code, "now", lambda: code.Code({"nn/norms.py": "edited"}))
    assert read(EVERY[0]).name != before


def test_the_rule_of_a_referee_is_part_of_its_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Referee, "file", tmp_path / "referee.yaml")
    (tmp_path / "referee.yaml").write_text("pairs: 5\n")
    before = read(EVERY[7]).name
    (tmp_path / "referee.yaml").write_text("pairs: 6\n")
    assert read(EVERY[7]).name != before


def test_no_program_is_judged_unless_the_person_named_it() -> None:
    with pytest.raises(Refused, match="--referee FILE"):
        read(EVERY[7]).check()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({**EVERY[0], "seeds": 1}, "one run gives no verdict"),
        ({**EVERY[2], "seeds": 1}, "one run gives no verdict"),
        ({**EVERY[7], "pairs": 1}, "one run gives no verdict"),
        ({**EVERY[0], "with": "mine.py"}, "Extra inputs"),
        ({**EVERY[0], "ideas": []}, "at least 1 item"),
        ({"kind": "train"}, "does not match any of the expected tags"),
        ({**EVERY[8], "law": "--report=x"}, "match pattern"),
    ],
)
def test_what_cannot_be_asked(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        read(said)


def test_an_option_in_the_place_of_an_idea_is_refused() -> None:
    with pytest.raises(Refused, match="is an option"):
        read({"kind": "try", "ideas": ["--with=mine.py"]}).check()
