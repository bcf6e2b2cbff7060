"""``danlu sweep`` as a person or a script meets it, over a queue that trains nothing."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from danlu.cli.main import main
from tests.chinese import left, numbers, texts
from tests.lab.sweep.fake import FakeQueue, bowl

KINDS = ("none", "mlp", "glu", "sigmoid", "gelu", "silu")  # that stand among the differences
WORDS = ["sweep", "nano", "train.steps=30", "optimizer.lr=1e-3..1e0/1", "+glu|"]


class Queue(FakeQueue):
    def __init__(self, studies: Path, workers: int | None = None) -> None:
        super().__init__(studies, lambda e: math.inf if e.optimizer.lr >= 1 else bowl(e))  # type: ignore[union-attr]

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("danlu.lab.queue.Queue", Queue)


def danlu(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


def test_what_a_person_reads(capsys: pytest.CaptureFixture[str]) -> None:
    assert danlu(*WORDS, "--seeds", "2") == 0
    out = capsys.readouterr().out
    for words in (
        "6 finished, 2 diverged · 2 seeds each",
        "0.01          without  1.6000 [1.6000, 1.6000]",
        "functional ANOVA of the whole grid",
        "2 of 2 diverged",
        "bests of two random halves of the 8 trials",
        "danlu train nano train.steps=30 optimizer.lr=0.01",
        "report.html",
    ):
        assert words in out
    assert "warning" not in out  # the best lies inside


@pytest.mark.parametrize("words", [
    (*WORDS, "--seeds", "2"), ("sweep", "nano", "optimizer.lr=1e-4,1e-3", "model.layers=2,3,4"),
])  # fmt: skip
def test_what_a_person_reads_in_chinese(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers of the English, and no English sentence; nor on the page."""
    assert danlu(*words) == 0
    english = capsys.readouterr().out
    monkeypatch.setenv("DANLU_LANG", "zh")
    assert danlu(*words) == 0
    said = capsys.readouterr().out
    names = ("grid", "nano", *KINDS, *re.findall(r"studies/\S+", said))
    assert [numbers(line) for line in said.splitlines()] == [numbers(line) for line in english.splitlines()]
    assert left(said.splitlines(), names) == []
    (page,) = Path("studies").glob("*/report.html")
    assert (
        left(texts(page.read_text()), (*names, *(path.name for path in Path("studies/runs").glob("*")))) == []
    )


def test_the_border_is_warned_of_with_its_direction(capsys: pytest.CaptureFixture[str]) -> None:
    assert danlu("sweep", "nano", "optimizer.lr=1e-4,1e-3", "model.layers=2,3,4") == 0
    out = capsys.readouterr().out
    assert "the best lies at the upper end of optimizer.lr (0.001): extend it upwards" in out
    assert "the best lies at the lower end of model.layers (2): extend it downwards" in out


def test_json_is_one_object_and_the_report_holds_all_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert danlu(*WORDS, "--json") == 0
    result = json.loads(
        capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")
    )
    assert {
        "trials",
        "best",
        "border",
        "importance",
        "study_variance",
        "isolation",
        "counts",
        "spent",
    } <= set(result)
    page = Path(result["report"]).read_text()
    assert page.count("<svg") == 5  # the search, two slices, their pair, importance
    assert "src=" not in page and not re.search(r'href="(?!data:|\./)', page) and "<script" not in page
    there = [folder for trial in result["trials"] for folder in trial["folders"]]
    assert there and page.count('<a href="./') == len(there)  # a link to each run
    assert "<td>optimizer.lr</td>" in page  # what the best has that the recipe has not


def test_columns_keep_to_their_fields_whatever_the_order_of_the_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert danlu("sweep", "nano", "optimizer.lr=1e-4,1e-3", "model.layers=2,3") == 0
    capsys.readouterr()
    assert danlu("sweep", "nano", "model.layers=2,3", "optimizer.lr=1e-4..1e-1", "--trials", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split()[:3] == ["model.layers", "optimizer.lr", "bits_per_byte"]
    assert {line.split()[1] for line in lines[3:8]} == {"2", "3"}


def test_halving_says_what_it_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert danlu(*WORDS, "--halving") == 0
    out = capsys.readouterr().out
    assert "8 of 10 updates, 2 of 30 updates" in out
    assert "140 updates in all; every point at full length: 240" in out


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["nano"], "no word spans a space"),
        (["nano", "optimizer.lr=1..x/3"], "LOW..HIGH/POINTS"),
        (["nano", "optimizer.lr=1e-3..1"], "--trials 20"),
        (["nano", "optimizer.lr=1,2", "--sampler", "tpe"], "--trials 30"),
        (["nano", "optimizer.lr=1,2", "--metric", "bits_per_bite"], "did you mean bits_per_byte"),
    ],
)
def test_mistakes_are_one_sentence(words: list[str], wanted: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert danlu("sweep", *words) == 2
    said = capsys.readouterr()
    assert said.out == "" and wanted in said.err and said.err.count("\n") == 1
    assert not Path("studies").exists()
