"""``danlu try`` as a person or a script meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from danlu.cli.main import main
from danlu.lab.queue.journal import ENDS, JOURNAL, read
from tests.conftest import ROOT
from tests.lab.trial.cases import baseline


@pytest.mark.slow
def test_a_study_from_words_to_verdicts(tmp_path: Path) -> None:
    """With the real queue, in processes of its own."""
    command = [sys.executable, "-m", "danlu", "try", "swiglu", "--on", baseline(tmp_path), "--seeds", "2"]
    command += ["--tune", "none"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def danlu(*more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*command, *more], capture_output=True, text=True, cwd=tmp_path, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done

    found = json.loads(danlu("--json").stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert [one["at"] for one in found] == ["steps", "flops", "time"]
    for one in found:
        assert one["idea"] == "+swiglu" and one["metric"] == "bits_per_byte" and one["better"] == "lower"
        if one["verdict"] == "not measured":  # where this machine is busy
            assert one["at"] == "time" and one["note"].startswith("time cannot be measured ")
            continue
        assert one["seeds"] == 2 and one["verdict"] in ("better", "worse", "not shown")
        assert "6 updates (2,000 are needed)" in one["regime"]["early"] and one["regime"]["tuned"] is False
        assert one["cost"]["runs"] >= 4 and one["cost"]["tuning"] == 0
        low, high = one["interval"]
        assert low <= one["difference"] <= high
        assert len(one["moved"]) == (5 if one["at"] == "steps" else 0)
    (folder,) = (tmp_path / "studies").glob("try-*")
    kept = json.loads((folder / "result.json").read_text())
    assert [{"schema": "danlu.try/1", **one} for one in kept] == found
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert "idea: +swiglu" in (tmp_path / "ledger.yaml").read_text()

    def ended() -> list[str]:
        return [row["job"] for row in read(tmp_path / "studies" / JOURNAL) if row["event"] in ENDS]

    first, again, then = ended(), danlu(), ended()
    assert then[: len(first)] == first and len(set(then)) == len(then)  # nothing runs twice
    assert len(then) == len(first) or found[2]["verdict"] == "not measured"  # time may be measured by now
    assert (
        "(early)" in again.stdout.splitlines()[0]
        and "what moved most inside" in again.stdout
        and "\x1b" not in again.stdout
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["qk-nrm"], "did you mean +qk-norm?"),
        (["qk-norm", "--budget", "soon"], "is not an amount such as 60s"),
        (["qk-norm", "--seeds", "0"], "--seeds = 0; allowed: 1 to 1,000"),
        (["qk-norm", "--tune", "beta2"], "what can be tuned is lr"),
        (["model.norm.kind=rms"], "changes nothing on bed"),
        (["qk-norm", "--on", "nanno"], "did you mean nano?"),
        (["qk-norm", "--seeds", "x"], "--seeds = 'x'; allowed: a whole number (see danlu try --help)"),
        (["qk-norm", "--workers", "0"], "--workers = 0; allowed: a whole number, 1 or more"),
        (["qk-norm", "--workers"], "--workers has no value; write --workers VALUE (see danlu try --help)"),
        (["qk-norm", "--budgt", "60s"], "No such option: --budgt; did you mean --budget?"),
        (["qk-norm", "--dry-run", "--seeds", "0"], "--seeds = 0; allowed: 1 to 1,000"),
        ([], "IDEA... is missing (see danlu try --help)"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    words: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["try", *words])
    out, err = capsys.readouterr()
    assert left.value.code == 2 and out == ""
    assert err.startswith("danlu: ") and sentence in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
