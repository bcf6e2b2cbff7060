"""What danlu did not write is shown on the terminal, not obeyed by it."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest

from danlu.cli import output
from danlu.cli.progress import Progress
from danlu.spec import Metric
from tests.cli.test_train import danlu
from tests.conftest import ROOT
from tests.lab.reading.folders import make_run

EVIL = "a\x1b[2Jb\x08c\x0e\u202ed\u009be"
SHOWN = "a\\x1b[2Jb\\x08c\\x0e\\u202ed\\x9be"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_and_tables(capsys: pytest.CaptureFixture[str]) -> None:
    output.say(EVIL)
    output.tell(EVIL)
    output.print_table([("name", "x"), (f"{EVIL}\n", "y")])
    out, err = capsys.readouterr()
    assert err == f"{SHOWN}\n"
    first, heading, row = out.splitlines()
    assert first == SHOWN and row == f"{SHOWN}\\n  y"
    assert heading.index("x") == row.index("y")


def test_json_stays_the_same_document(capsys: pytest.CaptureFixture[str]) -> None:
    value = {EVIL: ["丹", "\udcff", "\U000e0041", "\x7f", "\n"]}
    output.print_json(None, value)
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert not OBEYED.search(out) and "丹" in out and "\U000e0041" not in out


def test_a_text_is_exact_in_a_pipe_and_escaped_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output.say_exactly(EVIL)
    output.print_yaml(f"# {EVIL}\n")
    assert capsys.readouterr().out == f"{EVIL}\n# {EVIL}\n"
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    output.say_exactly(EVIL)
    output.print_yaml(f"# {EVIL}\n")
    assert terminal.getvalue() == f"{SHOWN}\n# {SHOWN}\n"


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    progress = Progress(Metric("accuracy", "", "higher"), "token")
    progress.row({"step": 1, "tokens": 1, "loss": 1.0}, 0.5, None)
    progress.message(f"{EVIL} [/no markup] [red]")
    progress.close()
    said = terminal.getvalue()
    assert f"{SHOWN} [/no markup] [red]" in re.sub(r"\x1b\[[0-9;]*m", "", said)
    assert "\x1b[2Jb" not in said and "\u202e" not in said


def test_names_of_folders_errors_and_fields(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(Path(f"runs/{EVIL}"), "nano", {1: 3.0})
    make_run(Path("runs/b\udcff"), f"nano 'data.corpus={EVIL}.txt'", {1: 3.0})
    for words in (
        ["runs"], ["runs", "--json"], ["compare", f"runs/{EVIL}", "runs/b\udcff"], ["show", f"runs/{EVIL}x"],
        ["runs", "--where", EVIL], ["runs", f"{EVIL}"], ["show", f"{EVIL}=3"], ["runs", f"--{EVIL}"],
        ["ledger", "--file", f"{EVIL}.yaml"], ["laws", "fit", f"{EVIL}.csv"], ["prove", EVIL],
    ):  # fmt: skip
        danlu(*words)
        out, err = capsys.readouterr()
        assert out + err and not OBEYED.search(out + err), words
    danlu("runs", "--json")
    names = [run["run"] for run in json.loads(capsys.readouterr().out)]
    assert sorted(names) == sorted([f"runs/{EVIL}", "runs/b\udcff"])


def test_only_one_module_prints() -> None:
    for path in (ROOT / "danlu" / "cli").glob("*.py"):
        if path.name != "output.py":
            assert not re.search(r"(?<![\w.])print\(|sys\.std(out|err)\.write", path.read_text("utf-8")), path
