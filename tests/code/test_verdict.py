"""What a result is to the code that is here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from danlu.code import Code, differing, judge, manifest, record, tiers, verdict

HERE = Code({"nn/norms.py": "n1", "optim/rules/lion.py": "l1", "optim/rules/adam.py": "a1"})
NO_LION = Code({**HERE.files, "optim/rules/lion.py": "l2"})
MORE = Code({**HERE.files, "nn/new.py": "x1"})


def made_by(code: Code, *names: str) -> dict[str, Any]:
    return {"python": "3.11", "tier_a": code.tier_a, "files": {name: code.of(name) for name in names}}


ADAM = made_by(HERE, "nn/norms.py", "optim/rules/adam.py")
LION = made_by(HERE, "nn/norms.py", "optim/rules/lion.py")


@pytest.mark.parametrize(
    ("said", "code", "expected"),
    [
        (ADAM, HERE, "same"),
        (ADAM, NO_LION, "untouched"),
        (ADAM, MORE, "untouched"),
        (LION, NO_LION, "other"),
        (LION, Code({"nn/norms.py": "n1"}), "other"),  # the rule is gone
        (made_by(HERE), HERE, "same"),  # it has not come to what is recorded
        (made_by(HERE), NO_LION, "other"),
        (ADAM | {"edited": ["nn/norms.py"]}, HERE, "tainted"),
        (None, HERE, "other"),  # of danlu 0.3.0
        ({}, HERE, "other"),
        ([], HERE, "other"),
        ({"tier_a": HERE.tier_a, "files": 3, "edited": 3}, HERE, "same"),
        ({"tier_a": "no", "files": [1]}, HERE, "other"),
    ],
)
def test_verdicts(said: Any, code: Code, expected: str) -> None:
    assert judge(said, code) == expected


def test_the_files_that_differ() -> None:
    assert differing(LION, NO_LION) == ["optim/rules/lion.py"]
    assert differing(ADAM, NO_LION) == differing(None, HERE) == []
    assert manifest(ADAM) == {"nn/norms.py": "n1", "optim/rules/adam.py": "a1"}


def test_ones_own_file_decides_for_the_runs_that_use_it(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("x = 1\n")
    uses = made_by(HERE, "nn/norms.py", str(mine))
    assert [judge(uses, code) for code in (HERE, MORE)] == ["same", "untouched"]
    mine.write_text("x = 2\n")
    assert [judge(uses, code) for code in (HERE, MORE)] == ["other", "other"]
    assert differing(uses, HERE) == [str(mine)]
    mine.unlink()
    assert judge(uses, HERE) == "other"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> dict[str, Code]:
    """What is loaded and what is on the disk, to be changed at will."""
    codes = {"loaded": HERE, "now": HERE}
    monkeypatch.setattr(verdict, "loaded", lambda: codes["loaded"])
    monkeypatch.setattr(verdict, "now", lambda: codes["now"])
    return codes


def files(code: Code, *names: str) -> dict[str, str]:
    return {name: code.of(name) for name in names}


def test_a_record_says_what_was_used(world: dict[str, Code]) -> None:
    first = record(files(HERE, "nn/norms.py"))
    assert first == made_by(HERE, "nn/norms.py") | {"python": verdict.PYTHON}
    more = record(files(HERE, "optim/rules/adam.py"), first)
    assert manifest(more) == files(HERE, "nn/norms.py", "optim/rules/adam.py") and "edited" not in more


def test_an_edit_of_what_is_used_taints_and_another_does_not(world: dict[str, Code]) -> None:
    world["now"] = NO_LION
    assert "edited" not in record(files(HERE, "optim/rules/adam.py"))
    tainted = record(files(HERE, "optim/rules/lion.py", "nn/norms.py"))
    assert tainted["edited"] == ["optim/rules/lion.py"] and judge(tainted, HERE) == "tainted"
    world["now"] = HERE  # undone: nobody knows what ran meanwhile
    assert record(files(HERE, "optim/rules/lion.py"), tainted)["edited"] == ["optim/rules/lion.py"]


def test_two_processes_of_other_code_taint_what_both_used(world: dict[str, Code]) -> None:
    first = record(files(HERE, "optim/rules/lion.py", "nn/norms.py"))
    world |= {"loaded": NO_LION, "now": NO_LION}
    assert record(files(NO_LION, "optim/rules/lion.py", "nn/norms.py"), first)["edited"] == [
        "optim/rules/lion.py"
    ]
    assert "edited" not in record(files(NO_LION, "nn/norms.py"), first)


def test_what_may_have_changed_since_it_was_imported_taints(world: dict[str, Code]) -> None:
    unsure = Code({**HERE.files, "nn/norms.py": tiers.UNSURE})
    world |= {"loaded": unsure}
    assert record(files(unsure, "nn/norms.py"))["edited"] == ["nn/norms.py"]


def test_ones_own_file_may_be_edited_meanwhile(world: dict[str, Code], tmp_path: Path) -> None:
    said = record({**files(HERE, "nn/norms.py"), str(tmp_path / "mine.py"): "as it was handed over"})
    assert "edited" not in said
