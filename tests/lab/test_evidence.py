"""The code that results stand on, from runs to what is due."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from danlu import code
from danlu.cli.main import main
from danlu.files.json import read_json, write_json
from danlu.lab.evidence import CODE, edited_since, keep
from danlu.lab.ledger import read, record
from danlu.lab.revisit import due

ADAM, LION = ("nn/block.py", "optim/rules/adam.py"), ("nn/block.py", "optim/rules/lion.py")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The code on the disk: change it, and it has been edited."""
    files = dict(code.now().files)
    monkeypatch.setattr(code, "now", lambda: code.Code(dict(files)))
    return files


def run(folder: Path, here: dict[str, str], files: tuple[str, ...]) -> Path:
    folder.mkdir(parents=True)
    write_json(folder / "environment.json", {"code": {"files": {name: here[name] for name in files}}})
    return folder


def test_what_is_kept_is_what_the_runs_depend_on(tmp_path: Path, here: dict[str, str]) -> None:
    runs = [run(tmp_path / "a", here, ADAM), run(tmp_path / "b", here, LION)]
    one, both = keep(tmp_path / "study", runs[:1]), keep(tmp_path / "study", runs)
    assert one and both and one != both and len(one) == 16
    kept = read_json(tmp_path / "study" / CODE)
    assert kept == {
        one: {name: here[name] for name in ADAM},
        both: {name: here[name] for name in {*ADAM, *LION}},
    }
    assert keep(tmp_path / "study", runs[::-1]) == both and read_json(tmp_path / "study" / CODE) == kept


@pytest.mark.parametrize("said", [None, {}, {"code": {}}, {"code": {"files": []}}])
def test_runs_that_say_nothing_keep_nothing(tmp_path: Path, said: Any) -> None:
    (tmp_path / "run").mkdir()
    if said is not None:
        write_json(tmp_path / "run" / "environment.json", said)
    assert keep(tmp_path / "study", [tmp_path / "run"]) is None
    assert not (tmp_path / "study").exists()


def test_what_was_edited_since(tmp_path: Path, here: dict[str, str]) -> None:
    study = tmp_path / "study"
    digest = keep(study, [run(tmp_path / "a", here, LION)])
    assert digest is not None
    result = study / "claim.json"
    result.write_text("{}")
    assert edited_since([str(study)], digest) == []
    here["optim/rules/adam.py"] = "another"
    assert edited_since([str(study)], digest) == []
    here["optim/rules/lion.py"] = "another"
    for evidence in (study, result):
        assert edited_since([str(evidence)], digest) == ["optim/rules/lion.py"]
    assert edited_since([str(tmp_path / "elsewhere")], digest) == edited_since([str(study)], "another") == []


@pytest.mark.parametrize("left", ["", "[]", '{"a": 1}', '{"DIGEST": {"nn/block.py": "another"}}'])
def test_a_damaged_file_says_nothing_and_is_written_anew(
    tmp_path: Path, here: dict[str, str], left: str
) -> None:
    study, a = tmp_path / "study", run(tmp_path / "a", here, LION)
    digest = keep(tmp_path / "other", [a])
    assert digest is not None
    study.mkdir()
    (study / CODE).write_text(left.replace("DIGEST", digest))
    here["nn/block.py"] = "another"
    assert edited_since([str(study)], digest) == []
    if "DIGEST" not in left:
        keep(study, [a])
        assert edited_since([str(study)], digest) == ["nn/block.py"]


def add(tmp_path: Path, **changed: Any) -> Any:
    said: dict[str, Any] = {
        "idea": "lion", "statement": "lower", "verdict": "better", "seeds": 4, "effect": -0.1,
        "evidence": [tmp_path / "study"], "file": tmp_path / "ledger.yaml",
    }  # fmt: skip
    return record(**said | changed)


def test_a_verdict_is_due_when_its_code_was_edited(
    tmp_path: Path, here: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    digest = keep(tmp_path / "study", [run(tmp_path / "a", here, LION)])
    entry, file = add(tmp_path, code=digest), tmp_path / "ledger.yaml"
    assert entry.code == digest and due(read(file), {}, "now") == []
    here["optim/rules/lion.py"] = "another"
    (found,) = due(read(file), {}, "now")
    assert found.reasons == (
        "optim/rules/lion.py was edited since: the same command makes the affected runs again",
    )
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["ledger", "due", "--file", str(file)])
    assert capsys.readouterr().out.splitlines()[0] == f"1: {entry.id}: not decided"
    add(tmp_path, code=None, effect=-0.2)  # a newer answer to the same question
    assert due(read(file), {}, "now") == []


def test_a_verdict_is_due_when_what_judges_was_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the same command has judged its runs again, which asks no new question."""
    file = tmp_path / "ledger.yaml"
    first = add(tmp_path)
    assert first.judged == code.judging() and due(read(file), {}, "now") == []
    monkeypatch.setattr("danlu.lab.revisit.judging", lambda: "another")
    (found,) = due(read(file), {}, "now")
    assert found.reasons == ("how runs are judged was edited since: the same command judges its runs again",)
    monkeypatch.setattr("danlu.lab.ledger.book.judged", lambda: "another")
    assert add(tmp_path).id == first.id and due(read(file), {}, "now") == []


def test_the_same_answer_by_new_code_is_the_same_entry(tmp_path: Path, here: dict[str, str]) -> None:
    file = tmp_path / "ledger.yaml"
    first = add(tmp_path, code="0" * 16)
    file.write_text(file.read_text() + "  # a word by hand\n")
    assert add(tmp_path) == first
    second = add(tmp_path, code="1" * 16)
    assert (second.id, second.code) == (first.id, "1" * 16)
    assert read(file) == [second] and "a word by hand" in file.read_text()
