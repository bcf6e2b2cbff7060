"""``danlu prove`` as a person meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from danlu.files.yaml import dump
from danlu.lab.claims import book
from danlu.lab.ledger import read
from danlu.spec import resolve
from danlu.spec.replay import to_yaml
from tests.train.small import corpus, words


def prove(*typed: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "danlu.cli.main", "prove", *typed],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        timeout=120,
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
        (["windows-cost-little", "--seeds", "0"], "--seeds"),
    ],
)
def test_mistakes_are_told_in_a_sentence(typed: list[str], said: str, tmp_path: Path) -> None:
    done = prove(*typed, folder=tmp_path)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


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
        "seeds": 2,
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
    page = prove("--write", "claims.md", folder=tmp_path)
    assert page.returncode == 0 and "# The book of claims" in (tmp_path / "claims.md").read_text()
