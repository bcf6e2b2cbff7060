"""A small program in a git repository of its own, and a question on it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from danlu.files.yaml import dump
from danlu.lab.referee import Answer, referee

PYTHON = sys.executable

# Its value follows from the seed and from what an arm sets.
NOISY = """
import argparse, random
words = argparse.ArgumentParser()
words.add_argument("--seed", type=int)
words.add_argument("--worse", type=float, default=0)
words.add_argument("--out")
given = words.parse_args()
noise = random.Random(given.seed).gauss(0, 0.1)
print("loss", 1 + noise + given.worse)
"""


def git(folder: Path, *words: str) -> str:
    """What git says there, as a person without settings."""
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    command = ["git", *who, *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def make(folder: Path, **files: str) -> Path:
    """A repository with one commit: ``train_py`` becomes train.py."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q", "-b", "main")
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


def plan(folder: Path, /, **said: Any) -> Path:
    """A question beside the repository: train.py with and without ``--worse 1``, unless it is said."""
    whole: dict[str, Any] = {
        "run": f"{PYTHON} train.py --seed {{seed}} {{set}}",
        "folder": folder.name,
        "arms": {"base": {}, "idea": {"set": "--worse 1"}},
        "metric": {"name": "loss", "better": "lower", "stdout": r"^loss (\S+)"},
        "budget": {"pairs": 3, "kill_seconds": 60},
    }
    file = folder.parent / "plan.yaml"
    file.write_text(dump({key: value for key, value in (whole | said).items() if value is not None}))
    return file


def answer(folder: Path, /, *, pairs: int | None = None, **said: Any) -> Answer:
    """What the referee says, in studies beside the repository."""
    return referee(plan(folder, **said), folder.parent / "studies", pairs=pairs, book=None)


def state(folder: Path) -> dict[str, str]:
    """Every file of a folder, those of git too, by content and time; git's objects by content alone, since
    git dates those anew that it finds in use."""
    found = {}
    for place, _, files in os.walk(folder):
        for name in files:
            path = Path(place, name)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            time = 0 if "objects" in path.parts else path.stat().st_mtime_ns
            found[str(path.relative_to(folder))] = f"{digest} {time}"
    return found


def left(place: Path) -> list[str]:
    """Processes that still run a program within ``place``."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            state = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[0]
            if state != "Z" and os.readlink(f"/proc/{name}/cwd").startswith(str(place)):
                found.append(name)
        except OSError:
            continue
    return found
