"""``danlu profile``: what it prints, and a mistake in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_train import danlu
from tests.train import small

KEYS = {
    "seconds", "bottleneck", "tokens_per_second", "flops", "bytes", "intensity", "ceiling", "bandwidth",
    "utilisation", "mfu", "bound", "precision", "device", "kernels", "operators", "parts", "unit",
    "processes", "communication",
}  # fmt: skip


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert danlu("profile", *small.words(small.corpus(tmp_path)), "--steps", "1", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == KEYS | {"schema"}
    assert set(found["operators"][0]) == {"operator", "calls", "share"}


def test_what_a_person_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert danlu("profile", *small.words(small.corpus(tmp_path)), "--steps", "1") == 0
    out = capsys.readouterr().out
    for words in (
        "forward",
        "backward",
        "tokens/s",
        "bottleneck: ",
        "roofline: ",
        "-bound: ",
        "Attention in ",
    ):
        assert words in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--steps", "0"], "--steps"),
        (["train.device=gpu"], "train.device"),
        (["data.corpus=nowhere.txt"], "there is no corpus 'nowhere.txt'"),
        ([f"train.seed={2**64}"], "train.seed"),
    ],
)
def test_a_mistake_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert danlu("profile", *small.words(small.corpus(tmp_path), *words)) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and said in captured.err and captured.err.count("danlu: ") == 1
