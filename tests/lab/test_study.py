"""A study's folder: whose it is, and what is said of one that is not a study's."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.files.errors import DanluError
from danlu.files.json import read_json
from danlu.lab.study import Study, folder_name

ASKED = {"verb": "sweep", "words": ["nano"]}


def test_made_found_again_and_not_another(tmp_path: Path) -> None:
    study = Study.open(tmp_path, "one", ASKED)
    assert read_json(study.path / "study.json") == ASKED and study.result() is None
    study.save([1, 2])
    assert Study.open(tmp_path, "one", ASKED).result() == [1, 2]
    with pytest.raises(DanluError, match=r"another study: words is \['nano'\] there, \['tiny'\] here"):
        Study.open(tmp_path, "one", ASKED | {"words": ["tiny"]})


def test_long_words_that_begin_alike_are_two_studies(tmp_path: Path) -> None:
    words = "sweep nano " + " ".join(f"model.width={width}" for width in range(16, 160, 16))
    one = Study.open(tmp_path, f"{words} over optimizer.lr", ASKED)
    other = Study.open(tmp_path, f"{words} over train.batch", {"verb": "sweep"})
    assert one.path != other.path and len(one.path.name) < 100
    assert folder_name(one.path.name) == one.path.name


def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / ".git").mkdir()
    Study.open(tmp_path, "thesis", ASKED)
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "report.html").write_text("mine")
    with pytest.raises(DanluError, match=r"holds 'report\.html' but no study\.json"):
        Study.open(tmp_path, "book", ASKED)
    assert [path.name for path in (tmp_path / "book").iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    "text", ["null", "[]", "3", "{", "[" * 1000 + "]" * 1000, '{"a": ' + "1" * 5000 + "}"]
)
def test_what_is_no_study(tmp_path: Path, text: str) -> None:
    Study.open(tmp_path, "one", ASKED)
    (tmp_path / "one" / "study.json").write_text(text)
    with pytest.raises(DanluError, match=r"study\.json"):
        Study.open(tmp_path, "one", ASKED)


def test_studies_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DanluError, match="is a file, where a folder is needed"):
        Study.open(tmp_path / "file", "one", ASKED)
    assert (tmp_path / "file").read_text() == "mine"
