"""The folder that a run is trained in: made, or opened where the same run is there."""

from __future__ import annotations

from pathlib import Path

from danlu.files.write import write_atomically
from danlu.spec import Experiment
from danlu.spec.errors import SpecError
from danlu.spec.replay import difference, to_yaml
from danlu.spec.words import resolve
from danlu.train import store
from danlu.train.errors import RunError
from danlu.train.folder import RunFolder, new_run
from danlu.train.parallel import Processes


def open_folder(experiment: Experiment, folder: Path | None, name: str, group: Processes) -> RunFolder:
    """The run's folder, which the first process makes and locks."""
    opened: list[RunFolder] = []

    def make() -> Path:
        path = folder or new_run("runs", name)
        text = to_yaml(experiment)
        opened.append(RunFolder.create_or_open(path, text, lambda old, new: _differs(path, experiment)))
        return path

    path = group.on_first(make)
    return opened[0] if opened else RunFolder(path)


def _differs(folder: Path, experiment: Experiment) -> str:
    """What this experiment would change in the run that is there, in words."""
    there = RunFolder(folder)
    if not there.environment.exists() and store.latest_step(folder) is None:
        _check_unbegun(there)
        write_atomically(there.experiment, to_yaml(experiment).encode())  # it never began: nothing to protect
        return ""
    return "; ".join(
        f"{field} is {old} there and {new} here"
        for field, old, new in difference(resolve([str(there.experiment)]), experiment)
        if not field.startswith("train.mesh.")  # where it computes, and not what
    )


def _check_unbegun(there: RunFolder) -> None:
    """Raises ``RunError`` where what looks like a run that never began is somebody's own folder."""
    what = None
    if there.metrics.exists():
        what = f"{there.metrics.name!r} but no {there.environment.name}"
    else:
        try:
            resolve([str(there.experiment)])
        except SpecError:
            what = f"{there.experiment.name!r}, which is no experiment"
    if what is not None:
        raise RunError(
            f"{there.path} holds {what}, so it is not a run's folder; name an empty or a new folder"
        )
