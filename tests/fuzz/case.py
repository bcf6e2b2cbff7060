"""One case: a copy of the world, damaged; a command; and what must hold whatever comes of it.

- It ends: with success, with one of danlu's sentences and its exit code, or stopped when it was asked for
  more than the time there is. No traceback.
- No file of a person is changed.
- Nothing that a terminal would obey is printed.
- Memory is bounded.
"""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import signal
import sys
import time
import traceback
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from types import FrameType

from tests.fuzz import commands, mutate, world

PATIENCE = 4.0  # seconds after which a command that may be at work for long is told to stop
LIMIT = 20.0  # seconds after which it hangs
MEMORY = 1 << 30  # bytes that a case may take beyond what the process had
ENDS = {0, 1, 2, 130, 143}  # 1: a claim whose runs failed; 130, 143: stopped
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
EXACT = ("sample", "show", "ledger", "import")  # which print a text or YAML, in a pipe byte for byte
FOLDERS = ("runs/one", "runs/two", "runs", "studies", "hf", "saved", "mine", "absent.yaml", "corpus.txt")
WORKING = 0.2  # the share of commands that train or sample


class Hangs(BaseException):
    """It did not stop when it was told to."""


@dataclass
class Case:
    """``problems``: none where all that must hold does."""

    number: int
    seed: int
    words: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)  # to which files
    code: int | None = None
    said: str = ""
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        words = " ".join(
            word if len(word) < 80 else f"{word[:60]}…({len(word)})" for word in map(repr, self.words)
        )
        lines = [f"case {self.number} (seed {self.seed}, {self.seconds:.1f} s): danlu {words}", *self.done]
        return "\n  ".join([*lines, *self.problems])


def carry_out(number: int, seed: int, source: Path, folder: Path) -> Case:
    """Case ``number`` of ``seed`` on a copy of the world ``source`` in ``folder``, which is made anew."""
    case = Case(number, seed)
    draw = random.Random(f"{seed}-{number}")
    _fresh(source, folder)
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    mutable = [name for name in files if not name.startswith(("mine/", "cache/"))]
    places = sorted({_place(name) for name in mutable})
    damaged = None
    for _ in range(draw.choice((0, 1, 1, 1, 2))):
        place = draw.choice(places)
        name = damaged = draw.choice([name for name in mutable if _place(name) == place])
        path = folder / name
        if path.is_file():
            case.done.append(f"{name} {mutate.damage(path, draw)}")
    if draw.random() < 0.05:
        path = folder / draw.choice(("runs/two", "runs/one", "base.yaml", "points.csv", "corpus.jsonl"))
        if path.exists():
            case.done.append(f"{path.name} is called {mutate.rename(path, draw).name!r}")
    wanted = [word for word in files if draw.random() < 0.3] or files
    names = [
        *wanted,
        *("runs/one", "runs/two", "runs", "studies", "hf", "saved", "mine", "absent.yaml", "corpus.txt"),
    ]
    if damaged is not None:
        names += [damaged] * len(names)  # what was damaged is read as often as all else
    case.words = commands.command(draw, names, draw.random() < WORKING, damaged)
    before = _snapshot(folder)
    _run(case, folder)
    changed = [name for name, what in _snapshot(folder).items() if before.get(name, what) != what]
    gone = [name for name in before if not os.path.lexists(folder / name)]
    case.problems += [f"{name} was changed" for name in changed] + [f"{name} is gone" for name in gone]
    return case


def _place(name: str) -> str:
    """What a file belongs to. A place is chosen first: else runs, of many files, were all that is damaged."""
    parts = name.split("/")
    return "/".join(parts[:2]) if parts[0] in ("runs", "studies") else parts[0]


def _fresh(source: Path, folder: Path) -> None:
    """Make ``folder`` a copy of ``source``: what the last case changed is put back."""
    wanted, there = _listed(source), _listed(folder) if folder.exists() else {}
    changed = [name for name, what in wanted.items() if there.get(name) != what]
    for name in [*sorted(there.keys() - wanted.keys(), reverse=True), *changed]:
        path = folder / name
        if path.is_symlink() or path.is_file() or (path.exists() and not path.is_dir()):
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
    for name, what in wanted.items():
        if what is None:
            (folder / name).mkdir(parents=True, exist_ok=True)
        elif not (folder / name).exists():
            shutil.copy2(source / name, folder / name)


def _listed(root: Path) -> dict[str, tuple[int, int] | None]:
    """Size and time of what is below a folder, by name, folders (None) before what they hold."""
    found: dict[str, tuple[int, int] | None] = {}
    for place, inside, names in os.walk(root):
        for name in inside + names:
            path = os.path.join(place, name)
            stat = os.lstat(path)
            plain = (stat.st_size, stat.st_mtime_ns) if S_ISREG(stat.st_mode) else (-1, stat.st_mode)
            found[os.path.relpath(path, root)] = None if S_ISDIR(stat.st_mode) else plain
    return found


def _snapshot(folder: Path) -> dict[str, bytes]:
    """What the files of a person hold, by name."""
    found = {}
    for place, inside, names in os.walk(folder):
        if Path(place) == folder:
            inside[:] = [name for name in inside if name not in world.OURS]
            names = [name for name in names if name not in world.OURS]
        for name in names:
            path = os.path.join(place, name)
            if name.endswith(".lock"):  # danlu's own
                continue
            if not os.path.islink(path) and os.path.isfile(path):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, folder)] = file.read()
    return found


def _run(case: Case, folder: Path) -> None:
    out, err, before = io.StringIO(), io.StringIO(), os.getcwd()
    # StringIO takes half surrogate pairs, which a real stream would replace.
    peak = _peak(reset=True)
    start = time.perf_counter()
    os.chdir(folder)
    handler = signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE, LIMIT - PATIENCE)
    _stop.calls, _stop.train = 0, case.words[:1] == ["train"]  # type: ignore[attr-defined]
    try:
        with redirect_stdout(out), redirect_stderr(err), world.quick(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case.code = world.danlu(*case.words)
    except KeyboardInterrupt:
        case.code = 130
    except Hangs:
        case.problems.append(f"hangs: {_where()}")
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)
        ours = [f for f in where if "/danlu/" in f.filename][-3:]
        place = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(ours))
        case.problems.append(f"{type(error).__name__}: {str(error)[:200]} at {place}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        os.chdir(before)
    case.seconds = time.perf_counter() - start
    case.said = out.getvalue() + err.getvalue()
    grown = _peak() - peak
    if grown > MEMORY:
        case.problems.append(f"took {grown / 1e9:.1f} GB")
    if case.code is not None and case.code not in ENDS:
        case.problems.append(f"exit code {case.code}")
    if "Traceback" in case.said:
        case.problems.append("printed a traceback")
    exact = case.words and case.words[0] in EXACT
    if found := OBEYED.search(err.getvalue() if exact else case.said):
        case.problems.append(f"printed {found[0]!r}")
    if case.code == 2 and not err.getvalue().startswith("danlu: ") and "danlu: " not in err.getvalue():
        case.problems.append(f"exit code 2 without a sentence: {err.getvalue()[:200]!r}")


def _stop(number: int, frame: FrameType | None) -> None:
    """First as a person would; then by force."""
    _stop.calls += 1  # type: ignore[attr-defined]
    if _stop.calls > 1:  # type: ignore[attr-defined]
        _stop.frame = "".join(traceback.format_stack(frame)[-4:])  # type: ignore[attr-defined]
        raise Hangs
    if callable(signal.getsignal(signal.SIGTERM)) and _stop.train:  # type: ignore[attr-defined]
        os.kill(os.getpid(), signal.SIGTERM)
    else:  # a queue would begin the run again
        raise KeyboardInterrupt


def _where() -> str:
    return getattr(_stop, "frame", "")


def _peak(reset: bool = False) -> int:
    """The largest resident size since the last reset, in bytes; 0 where the system does not say."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


if sys.platform == "win32":
    raise ImportError("pipes, links and alarms are those of Unix")
