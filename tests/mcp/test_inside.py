"""No word leads out of the working folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.mcp.inside import Refused, check_places, check_values, check_words


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("no")
    (folder / "book.txt").write_text("yes")
    (folder / "own").symlink_to(folder / "book.txt")
    (folder / "out").symlink_to(tmp_path)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    "word",
    ["qk-norm", "+swiglu", "qk-norm+z-loss", "optimizer.lr=1e-3", "lr=1e-4..1e-1/3", "data.corpus=book.txt",
     "nano data.corpus=own train.steps=6", "ideas/mine.yaml", "data.corpus=synthetic:reverse-3", "a..b"],
)  # fmt: skip
def test_what_is_inside_is_allowed(word: str) -> None:
    check_words([word])


@pytest.mark.parametrize(
    "word",
    ["/etc/passwd", "data.corpus=/etc/passwd", "../secret.txt", "data.corpus=../secret.txt", "a/../../secret",
     "~/x.yaml", "data.corpus=~root/x", "C:\\x.yaml", "out/secret.txt", "data.corpus=out/*.txt",
     "nano data.corpus=out", "x=[book.txt,/etc/passwd]", "x={a: '/etc'}", "file:///etc/passwd",
     "--with=mine.py", "-x", " --json", "a\x00b"],
)  # fmt: skip
def test_what_leads_out_is_refused(word: str) -> None:
    with pytest.raises(Refused):
        check_words([word])


def test_what_a_file_says_is_looked_at_too() -> None:
    check_values({"data": {"corpus": "notes/book.txt"}, "steps": 3, "kinds": ["a", None]})
    for value in ({"data": {"corpus": "/etc/passwd"}}, [{"a": ["x", "out/secret.txt"]}], "~/x"):
        with pytest.raises(Refused, match="working folder"):
            check_values(value)


def test_the_sentence_names_the_place() -> None:
    with pytest.raises(Refused, match=r"'/etc/passwd' is outside of the working folder"):
        check_places("data.corpus=/etc/passwd")
