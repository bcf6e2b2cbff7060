"""``danlu prove`` as a person meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from danlu.cli.main import main
from danlu.cli.prove import _kept
from danlu.files.yaml import dump
from danlu.lab.claims import book, proof
from danlu.lab.claims.again import again
from danlu.lab.claims.results import kept, save
from danlu.lab.ledger import read
from danlu.spec import resolve
from danlu.spec.replay import to_yaml
from tests.conftest import LIMIT
from tests.lab.claims.small import WRITTEN, claim, result
from tests.train.small import corpus, words


def prove(
    *typed: str, folder: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "danlu.cli.main", "prove", *typed],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        timeout=LIMIT,
    )


def test_the_list_is_the_book() -> None:
    listed = prove("--list")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(book.claims())
    assert [row["name"] for row in json.loads(prove("--list", "--json").stdout)] == list(book.claims())


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ([], "name a claim, or say --all"),
        (["windows-cost-litle"], "did you mean windows-cost-little?"),
        (["windows-cost-little", "--all"], "not both"),
        (["none.yaml"], "none.yaml is missing"),
        (["windows-cost-little", "--ledger", "nowhere/ledger.yaml"], "there is no folder nowhere"),
        (["windows-cost-little", "--seeds", "0"], "--seeds"),
    ],
)
def test_mistakes_are_told_in_a_sentence(typed: list[str], said: str, tmp_path: Path) -> None:
    done = prove(*typed, folder=tmp_path)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_claim_that_cannot_be_run_prints_no_table(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(dump(WRITTEN | {"measure": "incremnt"}))
    done = prove("mine.yaml", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "") and "did you mean increment" in done.stderr


@pytest.mark.parametrize("seeds", [2, 3])
def test_what_is_not_kept_is_in_no_ledger(
    seeds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim asks for three seeds; the entry names the file of the result."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(dump(WRITTEN))
    monkeypatch.setattr(proof, "prove", lambda *_: [result(seeds=seeds)])
    with pytest.raises(SystemExit, match="0"):
        main(["prove", "small.yaml", "--ledger", "ledger.yaml"])
    kept = Path("studies/claims/small.json")
    assert kept.exists() is Path("ledger.yaml").exists() is (seeds == 3)
    assert seeds == 2 or read(Path("ledger.yaml"))[0].evidence == (str(kept),)


def test_a_kept_result_is_judged_again_without_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As if a formula had been edited since: by its effects the claim holds, by its file it does not."""
    folder, ledger, claims = tmp_path / "claims", tmp_path / "ledger.yaml", {"small": claim()}
    was = again(claim(), result())
    save(folder, replace(was, verdict="not shown", severity=[]))
    assert _kept(claims, [folder], ledger) == {"small": was}
    said = "small: judged again by the code that is here: holds; it was not shown"
    assert said in capsys.readouterr().err
    assert _kept(claims, [folder], ledger) == kept(claims, folder) == {"small": was}
    assert capsys.readouterr().err == "" and read(ledger)[0].verdict == "holds"


@pytest.mark.slow
def test_a_claim_of_ones_own_from_runs_to_page(tmp_path: Path) -> None:
    """A net of twice the width has more parameters: exactly as many as the shapes say, whatever it learns."""
    small = resolve(words(corpus(tmp_path), "train.steps=2", "train.compile=false"))
    (tmp_path / "small.yaml").write_text(to_yaml(small))
    mine = {
        "statement": "Twice the width is more",
        "source": "Arithmetic",
        "rows": ["A18"],
        "on": "small.yaml",
        "arms": {"wide": "model.width=32", "narrow": ""},
        "measure": "parameters",
        "contrast": {"wide": 1, "narrow": -1},
        "unit": "parameters",
        "holds": {"above": 0},
        "margin": {"value": 1, "why": "one weight is more"},
        "seeds": 2,
        "premises": [{"name": "there are some", "arms": "all", "rule": {"above": 0}}],
        "note": "one layer",
    }
    (tmp_path / "mine.yaml").write_text(dump(mine))
    command = ["mine.yaml", "--workers", "1", "--json", "--ledger", "ledger.yaml"]
    done = prove(*command, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    ids, layer, norms = 257, 12, 3  # 12 d² in a layer, a gain of d before mixer, feed-forward and readout
    more = sum(sign * (ids * d + layer * d**2 + norms * d) for sign, d in ((1, 32), (-1, 16)))
    assert found["effects"] == [more, more] and found["verdict"] == "holds"
    assert found["runs"] == 4 and found["seconds"] > 0 and found["versions"]["torch"]
    (entry,) = read(tmp_path / "ledger.yaml")
    assert (entry.claim, entry.verdict, entry.effect) == ("mine", "holds", more)
    journal = (tmp_path / "studies" / "queue.jsonl").read_text()
    again = prove(*command, folder=tmp_path)
    assert json.loads(again.stdout) == [found]  # found, not run
    started = [row for row in journal.splitlines() if '"started"' in row]
    now = (tmp_path / "studies" / "queue.jsonl").read_text().splitlines()
    assert [row for row in now if '"started"' in row] == started
    kept = ["--results", "kept"]
    assert prove(*command, *kept, folder=tmp_path).returncode == 0
    written = (tmp_path / "kept" / "mine.json").read_text()
    assert json.loads(written) == json.loads((tmp_path / "studies" / "claims" / "mine.json").read_text())
    page = prove("--write", "claims.md", folder=tmp_path)
    assert page.returncode == 0 and "# The book of claims" in (tmp_path / "claims.md").read_text()


def test_a_claim_that_needs_a_gpu_says_so_before_anything_runs(tmp_path: Path) -> None:
    large = {
        "statement": "Large is large", "source": "Arithmetic", "rows": ["A18"], "on": "nano", "note": "none",
        "arms": {"one": ""}, "measure": "parameters", "contrast": {"one": 1}, "unit": "parameters",
        "holds": {"above": 0}, "seeds": 2, "needs": {"parameters": 1e8, "device": "gpu"},
    }  # fmt: skip
    (tmp_path / "large.yaml").write_text(dump(large))
    environment = os.environ | {"PATH": str(tmp_path)}  # without nvidia-smi
    done = prove("large.yaml", folder=tmp_path, env=environment)
    assert done.returncode == 2 and "needs 1e+08 parameters, a GPU, and there is no GPU here" in done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["large.yaml"]
