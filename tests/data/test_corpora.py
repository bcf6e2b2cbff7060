import os
import platform
from pathlib import Path

import pytest

from danlu.data import DataError
from danlu.data.corpora import find_corpus
from danlu.files.errors import DanluError


def fill(folder: Path, names: str) -> None:
    for name in names.split():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of {name}\n")


def names(corpus):
    return [file.name for file in corpus.files]


def test_the_standard_library_without_tests_and_packages():
    corpus = find_corpus("python-stdlib")
    assert corpus.version == f"{platform.python_implementation()} {platform.python_version()}"
    assert {"argparse.py", "json/decoder.py", "os.py"} <= set(names(corpus))
    assert names(corpus) == sorted(names(corpus))
    parts = {part for name in names(corpus) for part in name.split("/")[:-1]}
    assert not parts & {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
    assert all(name.endswith(".py") for name in names(corpus))


def test_a_folder_holds_all_files_below_it_that_can_be_read(tmp_path):
    fill(tmp_path, "b.txt a/z.md a/y.PY c.csv a/.git/x.txt .hidden.txt")
    corpus = find_corpus(str(tmp_path))
    assert names(corpus) == ["a/y.PY", "a/z.md", "b.txt"]
    assert corpus.ignored == 1
    documents = [(document.name, "".join(document.pieces)) for document in corpus.documents("text")]
    assert documents[0] == (str(tmp_path / "a/y.PY"), "text of a/y.PY\n")


def test_links_to_folders_do_not_lead_in_circles(tmp_path):
    fill(tmp_path, "a/x.txt")
    (tmp_path / "a/up").symlink_to(tmp_path)
    assert names(find_corpus(str(tmp_path))) == ["a/x.txt"]


def test_relative_paths_and_home(tmp_path, monkeypatch):
    fill(tmp_path, "sub/x.txt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("sub/x.txt", "~/sub/x.txt", str(tmp_path / "sub/x.txt"), "sub/*.txt", "~/sub/*.txt"):
        corpus = find_corpus(name)
        assert names(corpus) == ["x.txt"]
        assert corpus.root.resolve() == (tmp_path / "sub").resolve()


def test_globs(tmp_path):
    fill(tmp_path, "a/1.txt a/b/2.txt a/b/3.md")
    assert names(find_corpus(f"{tmp_path}/**/*.txt")) == ["1.txt", "b/2.txt"]
    assert names(find_corpus(f"{tmp_path}/a/b/[23].*")) == ["2.txt", "3.md"]
    with pytest.raises(DataError, match=r"no file matches '.*\*\.rst'"):
        find_corpus(f"{tmp_path}/*.rst")
    fill(tmp_path, "a/4.csv")
    with pytest.raises(DataError, match=r"4\.csv, which '.*' matches, is of no kind"):
        find_corpus(f"{tmp_path}/a/*")


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path):
    fill(tmp_path, "a[1].txt")
    assert names(find_corpus(str(tmp_path / "a[1].txt"))) == ["a[1].txt"]


def test_what_is_missing_is_named_with_the_nearest_spelling(tmp_path):
    with pytest.raises(
        DataError,
        match=r"no corpus 'python-stdlb'.* known by name are python-stdlib, .*; did you mean python-stdlib\?",
    ):
        find_corpus("python-stdlb")
    for name in ("", " "):
        with pytest.raises(DataError, match=r"data\.corpus is empty"):
            find_corpus(name)
    for name in ("\0", "*\0", "n" * 256, "~nobody-of-this-name/x"):
        with pytest.raises(DanluError, match=r"no corpus|no such home folder"):
            find_corpus(name)
    fill(tmp_path, "shakespeare.txt")
    with pytest.raises(DataError, match=r"did you mean .*/shakespeare\.txt\?"):
        find_corpus(str(tmp_path / "shakespear.txt"))


def test_what_has_no_end_is_no_corpus(tmp_path):
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.txt")
    for name, kind in (
        ("/dev/zero", "device"),
        (tmp_path / "zero.txt", "device"),
        (tmp_path / "pipe.txt", "pipe"),
    ):
        with pytest.raises(DanluError, match=f"{name} is a {kind}; name a file"):
            find_corpus(str(name))
    with pytest.raises(DataError, match="none of the 0 files"):
        find_corpus(str(tmp_path))


def test_files_and_folders_of_other_kinds_are_refused(tmp_path):
    fill(tmp_path, "only/table.csv")
    with pytest.raises(
        DataError, match=r"table\.csv is of no kind that can be read: a corpus is \.jsonl, \.md"
    ):
        find_corpus(str(tmp_path / "only/table.csv"))
    with pytest.raises(DataError, match=r"none of the 1 files in .*only can be read"):
        find_corpus(str(tmp_path / "only"))


def test_several_saved_datasets_want_a_choice(tmp_path):
    fill(tmp_path, "dataset_dict.json test/state.json test/dataset_info.json")
    assert find_corpus(str(tmp_path)).root == tmp_path / "test"
    fill(tmp_path, "train/state.json train/dataset_info.json")
    with pytest.raises(DataError, match=r"holds several datasets, test, train: name one, such as .*/test"):
        find_corpus(str(tmp_path))
    assert find_corpus(str(tmp_path / "train")).root == tmp_path / "train"


def test_a_change_of_a_file_shows(tmp_path):
    fill(tmp_path, "x.txt")
    before = find_corpus(str(tmp_path))
    os.utime(tmp_path / "x.txt", ns=(0, 0))
    assert find_corpus(str(tmp_path)) != before
