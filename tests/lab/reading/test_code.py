"""What runs are to the code that is here: read, listed, grouped, compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from danlu import code
from danlu.cli.main import main
from danlu.files.json import write_json
from danlu.lab.reading.code import apart, mark
from danlu.lab.reading.comparison import compare
from danlu.lab.reading.groups import group
from danlu.lab.reading.index import INDEX, WORTH_IT, read_runs
from danlu.lab.reading.run import read_run
from tests.lab.reading.folders import make_run

FILES = ("nn/block.py", "optim/rules/adam.py")


def record(**more: Any) -> dict[str, Any]:
    """Of a run by the code that is here."""
    here = code.now()
    return {"tier_a": here.tier_a, "files": {name: here.of(name) for name in FILES}} | more


def with_code(folder: Path, said: Any, words: str = "nano", score: float = 2.0) -> Path:
    make_run(folder, words, (score,))
    write_json(folder / "environment.json", {} if said is None else {"code": said})
    return folder


def changed(**files: str) -> dict[str, Any]:
    said = record(tier_a="another")
    return said | {"files": said["files"] | {f"nn/{name}.py": digest for name, digest in files.items()}}


RECORDS: Mapping[str, Any] = {
    "same": record(),
    "untouched": record(tier_a="another"),
    "other": changed(block="another"),
    "tainted": record(edited=["nn/block.py"]),
    "old": None,
    "damaged": {"files": 3, "tier_a": [], "edited": {}},
}
EXPECTED = {name: name for name in ("same", "untouched", "other", "tainted")} | {
    "old": "other",
    "damaged": "other",
}


@pytest.mark.parametrize("name", RECORDS)
def test_what_a_run_is_to_the_code_that_is_here(tmp_path: Path, name: str) -> None:
    run = read_run(with_code(tmp_path / "run", RECORDS[name]))
    assert run.code == run.value("code") == EXPECTED[name]
    assert run.ended == "finished" and (run.mark is None) == (name == "old")


def test_an_index_keeps_what_was_written_and_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(WORTH_IT):
        with_code(tmp_path / f"run-{number}", RECORDS["same"])
    assert {run.code for run in read_runs([tmp_path])} == {"same"} and (tmp_path / INDEX).exists()
    here = code.now()
    edited = code.Code({**here.files, "nn/block.py": "another"})
    monkeypatch.setattr(code, "now", lambda: edited)
    assert {run.code for run in read_runs([tmp_path])} == {"other"}
    edited = code.Code({**here.files, "nn/lru.py": "another"})
    assert {run.code for run in read_runs([tmp_path])} == {"untouched"}


def test_runs_of_one_code_have_one_mark() -> None:
    said = RECORDS["same"]
    again = said | {"files": dict(reversed(said["files"].items())), "python": "3.11"}
    assert mark(said) == mark(again)
    assert len({mark(record) for record in RECORDS.values()}) == len(RECORDS)


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What ``danlu runs`` prints."""
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["runs", *words])
    return capsys.readouterr().out


def test_the_list_says_which_are_by_other_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, (name, said) in enumerate(RECORDS.items()):
        with_code(tmp_path / name, said, f"nano train.seed={number}")
    rows = [line.split() for line in listed(capsys, str(tmp_path)).splitlines()]
    place = rows[0].index("code")
    found = {Path(row[0]).name: row[place] for row in rows[1:]}
    assert found.pop("same") not in EXPECTED.values()  # an empty cell
    assert found == {name: word for name, word in EXPECTED.items() if name != "same"}
    found = json.loads(listed(capsys, str(tmp_path), "--by-other-code", "--json"))
    assert {Path(run["run"]).name: run["code"] for run in found} == {
        name: word for name, word in EXPECTED.items() if word in ("other", "tainted")
    }
    found = json.loads(listed(capsys, str(tmp_path), "--where", "code=untouched", "--json"))
    assert [Path(run["run"]).name for run in found] == ["untouched"]


@pytest.mark.parametrize("name", ["same", "old"])
def test_there_is_no_column_where_it_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    with_code(tmp_path / "run", RECORDS[name])
    assert "code" not in listed(capsys, str(tmp_path)).splitlines()[0].split()


def test_seeds_by_different_code_are_no_group(tmp_path: Path) -> None:
    made = {"a": "same", "b": "untouched", "c": "other", "d": "old", "e": "other"}
    for seed, (name, said) in enumerate(made.items()):
        with_code(tmp_path / name, RECORDS[said], f"nano train.seed={seed}")
    groups = group(read_runs([tmp_path]))
    assert sorted(sorted(run.path.name for run in one.runs) for one in groups) == [
        ["a", "b"],
        ["c", "e"],
        ["d"],
    ]


def test_a_comparison_of_different_code_says_so(tmp_path: Path) -> None:
    one = with_code(tmp_path / "one", RECORDS["same"])
    other = with_code(tmp_path / "other", RECORDS["other"], "nano +swiglu")
    alike = with_code(tmp_path / "alike", RECORDS["untouched"], "nano +swiglu")
    assert apart([one, other]) == ["nn/block.py"] and apart([one, alike]) == []
    (note,) = [note for note in compare([str(one), str(other)]).notes if "code" in note]
    assert note == "the runs are by different code: nn/block.py changed between them"
    assert not [note for note in compare([str(one), str(alike)]).notes if "code" in note]
    same = with_code(tmp_path / "same", RECORDS["other"])
    (note,) = [note for note in compare([str(same), str(other)]).notes if "code" in note]
    assert note == "2 of 2 runs are by other code than is here"
