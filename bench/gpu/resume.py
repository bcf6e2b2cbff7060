"""A run that is killed and goes on, beside one that is never stopped: equal to the last bit?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from bench.gpu.place import Place, Row, workshop
from danlu.train.reporter import Silent

STEPS, SAVED, KILLED = 20, 10, 15  # updates; the checkpoint; where the process is killed
WORDS = (
    "nano", "data.corpus=synthetic:markov-8", f"train.steps={STEPS}", f"train.checkpoint_every={SAVED}",
    "train.log_every=1", "train.evaluate_tokens=4096", "train.compile=false",
)  # fmt: skip


def rows(at: Place) -> Iterator[Row]:
    with workshop() as folder:
        for deterministic in at.size((False, True), (True,)):
            yield compared(at, folder / str(deterministic), deterministic)


def compared(at: Place, folder: Path, deterministic: bool) -> Row:
    """Three runs: one, the same again, and one that is killed and goes on."""
    words = [*WORDS, f"train.device={at.device.type}"]
    row: Row = {"what": f"deterministic algorithms {'on' if deterministic else 'off'}"}
    torch.use_deterministic_algorithms(deterministic)
    whole, again, broken = (folder / name for name in ("whole", "again", "broken"))
    carry_out(words, whole)
    carry_out(words, again)
    code = "import sys; from bench.gpu import resume; resume.be_killed(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(int(deterministic)), str(broken), *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != -signal.SIGKILL:
        return row | {"wrong": f"was to be killed, but ended with {ended.returncode}: {ended.stderr[-300:]}"}
    carry_out(words, broken)
    apart = {"the same run twice": distance(whole, again), "killed and resumed": distance(whole, broken)}
    # Without deterministic algorithms a GPU adds up gradients in any order: then the numbers only inform.
    if (deterministic or not at.cuda) and any(apart.values()):
        row["wrong"] = "not equal to the last bit"
    return row | {f"{name}, weights apart by": value for name, value in apart.items()}


class Killer(Silent):
    """Ends the process at an update, as a power cut would."""

    def row(self, row: dict[str, Any], progress: float, utilisation: float | None) -> None:
        if row["step"] >= KILLED:
            os.kill(os.getpid(), signal.SIGKILL)


def carry_out(words: list[str], folder: Path, reporter: Silent | None = None) -> None:
    """Train in ``folder``, or go on there."""
    from danlu.spec import resolve
    from danlu.train.run import train

    train(resolve(words), folder, reporter or Silent(), sample=False)


def be_killed(deterministic: str, folder: str, *words: str) -> None:
    """What the process does that is killed."""
    torch.use_deterministic_algorithms(deterministic == "1")
    carry_out(list(words), Path(folder), Killer())


def distance(a: Path, b: Path, step: int = STEPS) -> float:
    """The greatest difference between the weights that two runs came to."""
    from danlu.train.load import load_run

    mine, theirs = (load_run(folder, step).model.state_dict() for folder in (a, b))
    return max(float((mine[name].double() - theirs[name].double()).abs().max()) for name in mine)
