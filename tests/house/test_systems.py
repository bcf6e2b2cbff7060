"""danlu on systems that lack what Linux has: nothing asks for it but where that was refused before."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import LIMIT, ROOT

UNIX = {"fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
NT = {"_winapi", "msvcrt", "nt", "winreg"}

# What Windows does not have, where it is never asked for on Windows, and why.
KNOWN = {
    "danlu/lab/queue/executors.py": {"sched_getaffinity"},  # behind hasattr
    "danlu/lab/forecast.py": {"getloadavg"},  # behind hasattr
    "danlu/lab/queue/on_slurm.py": {"SIGUSR2"},  # no queue there
    "danlu/lab/referee/process.py": {"SIGKILL", "WNOHANG", "killpg", "sysconf", "wait4"},  # no referee there
    "danlu/lab/trial/timing.py": {"sysconf"},  # after a look into /proc
}


@cache
def sources() -> tuple[tuple[str, ast.Module], ...]:
    """danlu's modules, each with its path from the root."""
    return tuple(
        (path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted((ROOT / "danlu").rglob("*.py"))
    )


def lacking(stub: str) -> set[str]:
    """Names of a module that typeshed, as mypy brings it, has for other systems than Windows alone."""
    mypy = pytest.importorskip("mypy")
    text = (Path(mypy.__file__).parent / "typeshed" / "stdlib" / stub).read_text(encoding="utf-8")
    everywhere, elsewhere = set[str](), set[str]()
    nodes = [(node, False) for node in ast.parse(text).body]
    while nodes:
        node, unix = nodes.pop()
        if isinstance(node, ast.If):
            test = ast.unparse(node.test)
            not_there = any(word in test for word in ("!= 'win32'", "== 'linux'", "== 'darwin'"))
            there = "== 'win32'" in test
            nodes += [(one, unix or not_there) for one in node.body]
            nodes += [(one, unix or there) for one in node.orelse]
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = [one.id for one in targets if isinstance(one, ast.Name)]
        names += [node.name] if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
        if isinstance(node, ast.ClassDef) and node.name == "Signals":
            nodes += [(one, unix) for one in node.body]
        (elsewhere if unix else everywhere).update(names)
    return elsewhere - everywhere


def test_typeshed_is_read_right() -> None:
    posix = lacking("os/__init__.pyi")
    assert {"wait4", "killpg", "sched_getaffinity", "O_CLOEXEC", "getuid", "fork", "sysconf"} <= posix
    assert not posix & {"kill", "replace", "open", "fsync", "O_APPEND", "symlink", "cpu_count", "getpid"}
    signals = lacking("signal.pyi")
    assert {"SIGKILL", "SIGUSR2", "SIGHUP"} <= signals and not signals & {"SIGTERM", "SIGINT", "raise_signal"}


def test_nothing_that_windows_lacks_is_asked_for() -> None:
    missing = {"os": lacking("os/__init__.pyi"), "signal": lacking("signal.pyi")}
    found: dict[str, set[str]] = {}
    for name, tree in sources():
        for node in ast.walk(tree):
            of = getattr(getattr(node, "value", None), "id", "") if isinstance(node, ast.Attribute) else ""
            if isinstance(node, ast.Attribute) and node.attr in missing.get(of, ()):
                found.setdefault(name, set()).add(node.attr)
    assert found == KNOWN


def test_modules_of_one_system_are_for_the_bottom_room() -> None:
    """And so is the question which system it is."""
    imported, asked = [], []
    for name, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                modules = {one.name.split(".")[0] for one in node.names}
            else:
                modules = {(node.module or "").split(".")[0]} if isinstance(node, ast.ImportFrom) else set()
            imported += [f"{name}: {one}" for one in modules & (UNIX | NT)]
            if isinstance(node, ast.Attribute) and node.attr == "name":
                asked += [name] if ast.unparse(node) == "os.name" else []
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "kill" and node.args:
                assert ast.unparse(node.args[-1]) != "0", f"{name}: 0 is Ctrl-C on Windows"
    assert [one for one in imported if not one.startswith("danlu/files/")] == []
    assert set(asked) == {"danlu/files/system.py"}


def test_every_file_can_have_its_name_there() -> None:
    """Windows forbids some characters, ends and names; it and macOS take ``A`` and ``a`` for one name."""
    names = [
        path.relative_to(ROOT).as_posix()
        for folder in ("danlu", "docs", "tests", "bench")
        for path in (ROOT / folder).rglob("*")
        if "__pycache__" not in path.parts
    ]
    assert len(names) > 1000 and len({name.casefold() for name in names}) == len(names)
    devices = r"(?i:con|prn|aux|nul|com\d|lpt\d)"
    forbidden = re.compile(rf'[<>:"|?*\\]|[. ](/|$)|(^|/){devices}(\.[^/]*)?(/|$)')
    assert forbidden.search("a/nul.txt") and forbidden.search("b:c") and not forbidden.search("a/null.txt")
    assert [name for name in names if forbidden.search(name)] == []


def test_text_has_a_named_encoding() -> None:
    """No file is read or written by the locale."""
    command = [sys.executable, "-m", "ruff", "check", "--preview", "--select", "PLW1514", "danlu"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert run.returncode == 0, run.stdout + run.stderr


# Third parties think that they are on Linux, and take their names first.
LESS = """
import asyncio, multiprocessing.util, os, shutil, signal, subprocess, sys, tempfile
import numpy, torch, scipy.optimize, optuna, rich, typer
for name in {unix!r}:
    sys.modules[name] = None
for module, names in ((os, {posix!r}), (signal, {signals!r})):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
from danlu.files import system
system.WINDOWS = True
from danlu.cli.main import main
for words in {verbs!r}:
    sys.argv = ["danlu", *words]
    try:
        main()
    except SystemExit as end:
        print("ENDED", words[0], end.code or 0, flush=True)
    else:
        print("ENDED", words[0], 0, flush=True)
"""
VERBS = [
    ["--help"],
    ["show", "nano"],
    ["train", "nano", "train.steps=2", "data.corpus=text.txt", "train.compile=false", "--run", "a"],
    ["train", "nano", "train.steps=2", "data.corpus=text.txt", "train.compile=false", "--run", "a"],
    ["runs", "."],
    ["sample", "a", "--prompt", "x"],
    ["doctor"],
    ["try", "qk-norm"],
    ["referee", "none.yaml"],
]


@pytest.mark.slow
def test_it_works_without_what_windows_lacks(tmp_path: Path) -> None:
    """Linux with the names taken away that Windows does not have: runs are made, resumed and read; what needs
    Linux's processes ends with a sentence, before a run or an entry in the ledger."""
    (tmp_path / "text.txt").write_text("".join(f"line {i} of a text\n" * 3 for i in range(3000)))
    kept = {"uname", "WNOHANG", "SIGKILL", "statvfs"}  # which numpy and the standard library ask Linux for
    gone = {"posix": lacking("os/__init__.pyi") - kept, "signals": lacking("signal.pyi") - kept}
    script = LESS.format(unix=UNIX - {"posix"}, verbs=VERBS, **gone)
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    ended = [line.split()[1:] for line in run.stdout.splitlines() if line.startswith("ENDED")]
    assert "Traceback" not in run.stderr, run.stderr
    assert ended == [[words[0], "2" if words[0] in ("try", "referee") else "0"] for words in VERBS], (
        run.stderr
    )
    assert run.stderr.count("WSL") == 2
    assert b"\r" not in (tmp_path / "a" / "metrics.jsonl").read_bytes()
    assert not (tmp_path / "studies" / "runs").exists() and not (tmp_path / "ledger.yaml").exists()
