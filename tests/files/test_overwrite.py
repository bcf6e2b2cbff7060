"""Nothing that danlu did not write is written over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from danlu.draw.page import page
from danlu.files.errors import FileError
from danlu.files.overwrite import MARK, check_output, write_output
from tests.cli.test_train import danlu
from tests.lab.reading.folders import make_run


def test_a_file_of_ours_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_output(path, page("one", []))
    write_output(path, page("two", []))
    assert "<title>two" in path.read_text() and MARK in path.read_text()


def test_a_file_of_somebody_else_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("x" * 2000 + MARK)
    with pytest.raises(FileError, match=r"book\.txt is there already and bears no mark of danlu.*--force"):
        write_output(path, page("", []))
    assert path.read_text() == "x" * 2000 + MARK
    write_output(path, page("", []), force=True)
    assert path.read_text() == page("", [])


def test_what_is_no_file_not_even_by_force(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/null"), tmp_path / "nowhere"):
        with pytest.raises(FileError, match=r"is a (folder|pipe|device|link that leads nowhere)"):
            check_output(path, force=True)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(MARK)
    (tmp_path / "link").symlink_to("file")
    write_output(tmp_path / "link", f"{MARK} new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_text() == f"{MARK} new"


POINTS = "n,d,loss\n" + "".join(
    f"{n},{20 * n},{3 - i / 10}\n" for i, n in enumerate([1e6, 2e6, 4e6, 8e6] * 3)
)


@pytest.mark.parametrize(
    "words",
    [
        ["compare", "runs/a", "runs/b", "--html", "mine.txt"],
        ["laws", "fit", "points.csv", "--law", "power", "--resamples", "0", "--report", "points.csv"],
        ["laws", "fit", "points.csv", "--law", "power", "--resamples", "0", "--report", "mine.txt"],
        ["prove", "--write", "mine.txt"],
        ["sweep", "nano", "train.seed=1,2", "--study", "mine", "--studies", "."],
        ["try", "swiglu", "--studies", "mine.txt"],
    ],
)
def test_the_verbs(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "points.csv").write_text(POINTS)
    (tmp_path / "mine.txt").write_text("a book")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "report.html").write_text("a report")
    for name in "ab":
        make_run(Path("runs") / name, "nano", {1: 3.0})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert danlu(*words) == 2
    said = capsys.readouterr().err
    assert said.startswith("danlu: ") and said.count("\n") == 1
    assert {path: path.read_bytes() for path in before} == before


def test_a_folder_that_is_not_there_is_told_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="No such file or directory"):
        check_output(tmp_path / "nowhere" / "page.html")


@pytest.mark.parametrize("name", ["mine.npy", "mine.csv"])
def test_of_what_holds_no_mark_nobody_knows_whose_it_is(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"1")
    with pytest.raises(
        FileError, match=rf"nothing in a \{path.suffix} file says whether danlu wrote it; .*--force"
    ):
        check_output(path)
    check_output(path, force=True)


def test_the_mark_of_an_archive_is_its_comment(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    path.write_bytes(b"x" * 5_000 + MARK.encode())
    check_output(path)
    path.write_bytes(MARK.encode() + b"x" * 5_000)
    with pytest.raises(FileError, match="bears no mark"):
        check_output(path)
