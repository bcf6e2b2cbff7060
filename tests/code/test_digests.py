"""What counts as the same code, and what is kept of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from danlu.code import digests
from danlu.code.digests import DIGITS, analyse, cache_file, sources

CODE = '''"""A module."""
from danlu.spec import Number

LIMIT = 3  # of something


class Part:
    """A class."""

    size: int = LIMIT

    def forward(self, x: Number) -> Number:
        """A method."""

        def inner() -> float:
            """And a function in it."""
            return 1.0

        return x * inner()
'''


def digest(text: str) -> str:
    return analyse(text.encode()).digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""', '"""Another sentence,\n\nand more."""'),
        ('"""A class."""', '"""Another."""'),
        ('"""A method."""', ""),
        ('"""And a function in it."""', '"""Another."""'),
        ("  # of something", ""),
        ("LIMIT = 3", "# before\n\nLIMIT   =   (3)"),
        ("x * inner()", "(x*inner( ))"),
    ],
)
def test_what_is_not_code_changes_nothing(old: str, new: str) -> None:
    assert old in CODE and digest(CODE.replace(old, new)) == digest(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMIT = 3.0"),
        ("size: int", "size: float"),
        ("x: Number", "x: object"),
        ("inner()", "inner() + 0"),
        ("def inner", "async def inner"),
        ("import Number", "import Other as Number"),
        ('"""A class."""', 'text = """A class."""'),
    ],
)
def test_what_is_code_does(old: str, new: str) -> None:
    assert old in CODE and digest(CODE.replace(old, new)) != digest(CODE)


def test_a_digest_has_sixteen_hex_digits_and_pythons_version_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    here = digest(CODE)
    assert len(here) == DIGITS == 16 and int(here, 16) >= 0
    monkeypatch.setattr(digests, "PYTHON", "3.99")
    assert digest(CODE) != here


DEEP = "x = " + "+".join("1" * 30_000)


@pytest.mark.parametrize("text", ["def (", "x = 1\0", "(" * 500 + ")" * 500, DEEP])
def test_what_is_no_python_counts_by_its_bytes(text: str) -> None:
    assert digest(text) != digest(text + "# a comment")
    assert analyse(text.encode()).digest == analyse(text.encode(), python=False).digest


def test_imports_and_what_is_taken_of_them() -> None:
    found = analyse(b"""
import os
import danlu.spec as s
from danlu.train import store
from danlu.nn.scan import LONGEST as most
def f():
    from helper import name
    return s.Block, store.CHECKPOINTS, most.real, os.sep
""")
    assert found.imports == {
        "s": ("danlu.spec", ""),
        "store": ("danlu.train", "store"),
        "most": ("danlu.nn.scan", "LONGEST"),
        "name": ("helper", "name"),
    }
    assert set(found.attributes) == {("s", "Block"), ("store", "CHECKPOINTS"), ("most", "real")}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and nothing in memory."""
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "_by_bytes", {})
    monkeypatch.setattr(digests, "_by_stamp", {})
    return cache_file()


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process begins with."""
    monkeypatch.setattr(digests, "_by_bytes", {})
    monkeypatch.setattr(digests, "_by_stamp", {})
    monkeypatch.setattr(digests, "_read_from", None)


def test_another_process_parses_nothing_again(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "part.py"
    file.write_text(CODE)
    (first,) = sources([file])
    forget(monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(digests, "analyse", lambda *_: pytest.fail("parsed again"))
        assert sources([file, tmp_path / "missing.py"]) == [first, None]
    file.write_text(CODE + "# a comment\n")
    assert sources([file]) == [first]  # other bytes, the same code
    file.write_text(CODE + "LIMIT = 4\n")
    assert sources([file]) != [first]


@pytest.mark.parametrize("left", ["", "[]", '{"a": 1}', '{"a": {"digest": 1}}', "{" * 200])
def test_a_damaged_cache_costs_time_and_no_answer(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    file = tmp_path / "part.py"
    file.write_text(CODE)
    cache.parent.mkdir()
    cache.write_text(left)
    (found,) = sources([file])
    assert found is not None and found.digest == digest(CODE)
    assert len(json.loads(cache.read_text())) == 1


def test_the_cache_keeps_what_is_used(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "KEPT", 2)
    files = [tmp_path / name for name in ("a.py", "b.py", "c.py")]
    for number, file in enumerate(files):
        file.write_text(f"x = {number}\n")
    sources(files[:2])
    forget(monkeypatch)
    sources([files[0], files[2]])  # a is used again, c is new
    forget(monkeypatch)
    monkeypatch.setattr(digests, "analyse", lambda *_: pytest.fail("parsed again"))
    assert None not in sources([files[0], files[2]])


def test_what_is_no_file_of_code_is_not_read(tmp_path: Path, cache: Path) -> None:
    """A run's record may name anything."""
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "large.py").write_bytes(b"#" * (digests.LIMIT + 1))
    names = [tmp_path / "pipe.py", tmp_path / "large.py", tmp_path, Path("/dev/zero"), Path("a\0b")]
    assert sources(names) == [None] * len(names)


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "file" / "cache"))
    file = tmp_path / "part.py"
    file.write_text(CODE + "more = 1\n")
    assert sources([file])[0] is not None
