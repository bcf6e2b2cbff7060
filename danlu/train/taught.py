"""Which run teaches an experiment, and what it holds. No torch here."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from danlu import code, spec
from danlu.files.errors import DanluError
from danlu.files.json import read_object, to_json
from danlu.files.lock import Lock
from danlu.files.paths import cache_folder
from danlu.files.read import read_bytes
from danlu.spec import catalog
from danlu.spec.flows import Reflow
from danlu.spec.replay import to_yaml
from danlu.spec.words import resolve, split
from danlu.train import shapes, store
from danlu.train.errors import RunError
from danlu.train.folder import EXPERIMENT, SUMMARY, RunFolder

SEED_APART = 10_000  # of a teacher that is trained first: its batches and weights are not the student's
DIGITS = 16
_PROCESSES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Named(NamedTuple):
    """What an experiment says of its teacher: the ``field``, and what stands there."""

    field: str
    run: str


def named(experiment: spec.Experiment) -> Named | None:
    """The teacher that the experiment names; None where it names none."""
    coupling = getattr(experiment.objective, "coupling", None)
    if isinstance(coupling, Reflow):
        return Named("objective.coupling.run", coupling.run)
    teacher = getattr(experiment.objective, "teacher", None)
    return None if teacher is None else Named("objective.teacher.run", teacher.run)


def by_content(experiment: spec.Experiment) -> spec.Experiment:
    """The experiment with the digest of its teacher's weights in place of the folder, so that two folders of
    equal weights are one and a folder that changed is another. Words stay, and so does what cannot be read:
    the run will say why."""
    said = named(experiment)
    if said is None or words_of(said.run, experiment.train.seed) is not None:
        return experiment
    try:
        kept = digest(Path(said.run))
    except DanluError:
        return experiment
    objective, (_, part, _) = experiment.objective, said.field.split(".")
    changed = getattr(objective, part).model_copy(update={"run": kept})
    return experiment.model_copy(update={"objective": objective.model_copy(update={part: changed})})


def check(experiment: spec.Experiment, processes: int) -> None:
    """Raises ``RunError`` where the teacher of an experiment on text is no run, has another objective, or
    other blocks where these are set side by side, which needs one of ``processes``."""
    said = named(experiment)
    if said is None or isinstance(getattr(experiment.objective, "coupling", None), Reflow):
        return
    words, folder = words_of(said.run, experiment.train.seed), RunFolder(Path(said.run))
    side_by_side = getattr(getattr(experiment.objective, "teacher", None), "blocks", None)
    if side_by_side and processes > 1:
        raise RunError("objective.teacher.blocks needs one process; set it to 0, or start without torchrun")
    try:
        if words is None:
            folder.check()
        teacher = resolve(words or [str(folder.experiment)])
        if (there := teacher.objective.kind) != (here := experiment.objective.kind):
            raise RunError(
                f"its objective is {there}, and this run's is {here}; name a teacher with objective={here}"
            )
        if side_by_side:
            mine, theirs = experiment.network, teacher.network
            layers, width, others, wide = mine.layers, mine.width, theirs.layers, theirs.width
            if (layers, width) != (others, wide):
                raise RunError(
                    f"objective.teacher.blocks sets block beside block, and this network has {layers} layers "
                    f"of width {width}, the teacher's {others} of {wide}; give it model.layers={others} "
                    f"model.width={wide}, or objective.teacher.blocks=0"
                )
    except DanluError as error:
        raise RunError(f"{said.field} = {said.run}: {error}") from None


def digest(path: Path) -> str:
    """SHA-256 of what the run in ``path`` is and of the best weights that it kept, by their recorded sums."""
    files = store.read_content(path, store.best_step(path))["files"]
    sums = {name: one["sha256"] for name, one in files.items() if not name.startswith("optimizer")}
    whole = read_bytes(path / EXPERIMENT) + to_json(dict(sorted(sums.items()))).encode()
    return hashlib.sha256(whole).hexdigest()


def words_of(run: str, seed: int) -> list[str] | None:
    """The words of the experiment that ``run`` stands for, with a seed of their own; None for a folder."""
    if os.path.exists(run):  # not Path.exists, which raises for a name that is too long
        return None
    words = split(run)
    if not words or (len(words) == 1 and words[0] not in catalog.names("recipes")):
        return None
    own = any(word.startswith("train.seed=") for word in words)
    return words if own else [*words, f"train.seed={seed + SEED_APART}"]


def folder_of(words: list[str], data: str) -> Path:
    """Where the teacher that ``words`` describe is, or will be: in danlu's cache, by its experiment, the
    ``data`` and the code."""
    experiment = resolve(words)
    said = "\n".join([to_yaml(by_content(experiment)), data, code.loaded().tier_a])
    key = hashlib.sha256(said.encode()).hexdigest()[:DIGITS]
    return cache_folder() / "teachers" / f"{Path(words[0]).stem}-{key}"


def train_first(words: list[str], folder: Path) -> None:
    """Train the teacher in ``folder``, in a process of its own, where it is not there yet; whoever else wants
    it meanwhile waits. Raises ``RunError`` with what that process said."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = Lock(folder.with_name(f"{folder.name}.lock"))
    try:
        if finished(folder):
            return
        alone = {name: value for name, value in os.environ.items() if name not in _PROCESSES}
        command = [sys.executable, "-m", "danlu", "train", *words, "--run", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, env=alone, check=False)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
            raise RunError(f"the teacher {' '.join(words)!r} could not be trained: {said}")
    finally:
        lock.release()


def finished(folder: Path) -> bool:
    """Whether the run there came to its end."""
    path = folder / SUMMARY
    return path.exists() and read_object(path, shapes.SUMMARY).get("stopped") is None


def cost(folder: Path) -> dict[str, float | None]:
    """What the teacher's own training cost: ``training_flops`` and ``training_seconds``; None of a model from
    elsewhere, of which nobody knows."""
    if not (folder / SUMMARY).exists():
        return {"training_flops": None, "training_seconds": None}
    summary = read_object(folder / SUMMARY, shapes.SUMMARY)
    return {
        "training_flops": summary.get("flops"),
        "training_seconds": round(sum(summary["active_seconds"].values()), 3),
    }
