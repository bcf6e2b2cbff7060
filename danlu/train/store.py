"""The checkpoint store of a run: its folders, which of them stay, their checks.

``checkpoints/step-N/`` holds tensor files and ``state.json``; ``checkpoints/latest`` is a small
JSON pointer. A checkpoint is written aside, flushed, renamed, and only then pointed to; then old
ones go. So a step folder is whole by its name alone, and at any moment one can kill -9 or cut the
power and find the last checkpoint. No torch here.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from danlu.files.errors import FileError
from danlu.files.json import from_json, misfit, read_object, to_json
from danlu.files.read import open_file, read_bytes
from danlu.files.system import replace
from danlu.files.write import clean_aside, flush, write_atomically
from danlu.train import shapes
from danlu.train.errors import RunError

FORMAT = 1
COUNTS = ("step", "tokens", "units", "seconds", "evaluated", "saved", "best_step")  # of a position
CHECKPOINTS, LATEST, STATE = "checkpoints", "latest", "state.json"
_STEP = re.compile(r"step-(\d+)")
_ASIDE = re.compile(r"\.(writing|replaced|pruned)-step-(\d+)")


def step_folder(run: Path, step: int) -> Path:
    """Where the checkpoint of a step is, or would be."""
    return run / CHECKPOINTS / f"step-{step}"


def list_steps(run: Path) -> list[int]:
    """The steps that have a checkpoint, ascending."""
    folder = run / CHECKPOINTS
    found = (_STEP.fullmatch(entry.name) for entry in (folder.iterdir() if folder.is_dir() else ()))
    return sorted(int(match[1]) for match in found if match)


def latest_step(run: Path) -> int | None:
    """The step to resume from: where ``latest`` points, or the newest left if that folder was deleted."""
    steps = list_steps(run)
    try:
        pointed = read_object(run / CHECKPOINTS / LATEST, {"step": int})["step"]
    except FileError:
        pointed = None  # the pointer is a convenience: every step folder is whole
    return pointed if pointed in steps else max(steps, default=None)


def clean(run: Path) -> None:
    """Finish or undo what a killed process left half done, touching only names that are ours.

    For the process that holds the run's lock: to anybody else it might be work in progress.
    """
    folder = run / CHECKPOINTS
    clean_aside(folder, older=0)
    for entry in list(folder.iterdir()) if folder.is_dir() else []:
        match = _ASIDE.fullmatch(entry.name)
        if match and match[1] == "replaced" and not step_folder(run, int(match[2])).exists():
            replace(entry, step_folder(run, int(match[2])))  # killed between the two renames of `publish`
        elif match:
            shutil.rmtree(entry)


def begin(run: Path, step: int) -> Path:
    """An empty folder to write the checkpoint of ``step`` into, before ``publish``."""
    (run / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    clean(run)
    aside = run / CHECKPOINTS / f".writing-step-{step}"
    aside.mkdir()
    return aside


def publish(run: Path, step: int, content: dict[str, Any], keep: int, protect: Collection[int]) -> Path:
    """Turn the folder of ``begin``, its tensor files already on the disk, into the latest checkpoint.

    ``content`` becomes its ``state.json``. Then all but the newest ``keep`` checkpoints and
    those of the steps in ``protect`` are removed. Raises ``OSError`` or ``FileError``.
    """
    aside, final = run / CHECKPOINTS / f".writing-step-{step}", step_folder(run, step)
    content = {"format": FORMAT, "step": step, **content}
    text = to_json({"sha256": _digest(content), "content": content}, indent=1)
    write_atomically(aside / STATE, text.encode())
    replaced = final.with_name(f".replaced-{final.name}")
    if final.exists():  # a folder cannot be renamed onto another; `clean` knows what to do in between
        replace(final, replaced)
    replace(aside, final)
    flush(final.parent)
    write_atomically(final.parent / LATEST, to_json({"step": step}).encode())
    with suppress(OSError):  # the checkpoint stands; what cannot be removed now is removed another time
        if replaced.exists():
            shutil.rmtree(replaced)
        prune(run, keep, protect)
    return final


def prune(run: Path, keep: int = 2, protect: Collection[int] = ()) -> None:
    """Remove all but the newest ``keep`` checkpoints and those of the steps in ``protect``.

    Newest counts back from ``latest``. Checkpoints past it are of a continuation that was given
    up when somebody went back to an earlier step: they go first.
    """
    latest = latest_step(run)
    if latest is None:
        return
    past = [step for step in list_steps(run) if step <= latest]
    stay = {*past[-max(keep, 1) :], *protect}
    for step in list_steps(run):
        if step not in stay:
            # Renamed first: a folder half removed must not look like a checkpoint.
            aside = run / CHECKPOINTS / f".pruned-step-{step}"
            replace(step_folder(run, step), aside)
            shutil.rmtree(aside)


def choose(run: Path, step: int | None) -> int:
    """``step``, or the latest one for None. Raises ``RunError`` if there is no such checkpoint."""
    steps = list_steps(run)
    chosen = latest_step(run) if step is None else step
    if chosen is None:
        raise RunError(f"{run / CHECKPOINTS} holds no checkpoint; run the experiment first")
    if chosen not in steps:
        have = ", ".join(map(str, steps)) or "none"
        raise RunError(f"{step_folder(run, chosen)} is missing; steps with a checkpoint: {have}")
    return chosen


def best_step(run: Path) -> int:
    """The step of the best checkpoint by the metric, or of the latest where that is not kept. Raises
    ``RunError`` where there is none."""
    latest = choose(run, None)
    best = (read_content(run, latest)["state"].get("position") or {}).get("best_step")
    return latest if best is None or not step_folder(run, best).is_dir() else int(best)


def read_content(run: Path, step: int) -> dict[str, Any]:
    """What ``publish`` was given, checked against its own sum. Raises ``RunError`` if it is damaged."""
    content, problem = _content(run, step)
    if problem:
        raise broken(run, step, problem)
    return content


def verify(run: Path, step: int, names: Collection[str], files: dict[str, Any]) -> None:
    """Check the files called ``names`` against their recorded size and sum. Raises ``RunError``."""
    for name in names:
        problem = _file_problem(step_folder(run, step) / name, files[name])
        if problem:
            raise broken(run, step, problem)


def broken(run: Path, step: int, problem: str) -> RunError:
    """The error for a damaged checkpoint: what is wrong, and which earlier one is whole."""
    for earlier in reversed([other for other in list_steps(run) if other < step]):
        content, trouble = _content(run, earlier)
        folder = step_folder(run, earlier)
        if not trouble and not any(_file_problem(folder / n, f) for n, f in content["files"].items()):
            damaged = step_folder(run, step)
            advice = f"the checkpoint of step {earlier} is whole: delete {damaged} to go on from it"
            break
    else:
        advice = "no earlier checkpoint is whole: restore the file, or start the run in a new folder"
    return RunError(f"{problem}; {advice}")


def _content(run: Path, step: int) -> tuple[dict[str, Any], str | None]:
    path = step_folder(run, step) / STATE
    try:
        record = from_json(read_bytes(path))
        content, expected = record["content"], record["sha256"]
    except FileError as error:
        return {}, str(error).partition(";")[0]
    except (ValueError, TypeError, KeyError) as error:
        return {}, f"{path} is truncated or altered ({type(error).__name__}: {error})"
    found = _digest(content)
    if found != expected:
        return {}, f"{path} was altered: sha256 {expected} expected, {found} found"
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return {}, f"{path} is not of format {FORMAT}, the one that this version of danlu reads"
    wrong = misfit(content, shapes.CHECKPOINT)
    for name, value in (content["state"].get("position") or {}).items() if not wrong else ():
        if name in COUNTS and value is not None and value < 0:
            wrong = f"state.position.{name} is {value}, which is below 0"
    return ({}, f"{path}: {wrong}") if wrong else (content, None)


def _file_problem(path: Path, expected: dict[str, Any]) -> str | None:
    try:
        size = path.stat().st_size
        if size != expected["size"]:
            return f"{path} is truncated or altered: {expected['size']} bytes expected, {size} found"
        with open_file(path) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return f"{path} is missing"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    except FileError as error:
        return str(error).partition(";")[0]
    if found != expected["sha256"]:
        return f"{path} was altered: sha256 {expected['sha256']} expected, {found} found"
    return None


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(to_json(content).encode()).hexdigest()
