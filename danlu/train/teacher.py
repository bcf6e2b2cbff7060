"""A trained run as the teacher of another: a flow that is straightened by its own pairs (reflow)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from danlu import spec
from danlu.objectives import Flow, Objective
from danlu.train.errors import RunError
from danlu.train.folder import RunFolder
from danlu.train.load import load_run


def teach(experiment: spec.Experiment, objective: Objective, device: torch.device) -> dict[str, Any] | None:
    """Give ``objective`` its teacher, frozen and on ``device``, if the experiment names one.

    Returns what is kept of it: ``run``, ``step``, and ``weights``, their SHA-256; None where there is none.
    Raises ``RunError`` for a folder that is no run, or one that cannot teach this.
    """
    if not isinstance(objective, Flow) or objective.reflow is None:
        return None
    path = objective.reflow.run
    try:
        loaded = load_run(Path(path))
        objective.teach(loaded.objective, loaded.model.to(device))
    except (RunError, ValueError) as error:
        raise RunError(f"objective.coupling.run = {path}: {error}") from None
    kept = hashlib.sha256()
    for name, tensor in sorted(loaded.model.state_dict().items()):
        kept.update(name.encode() + tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return {"run": path, "step": loaded.step, "weights": kept.hexdigest()}


def check_teacher(folder: RunFolder, before: dict[str, Any] | None, now: dict[str, Any] | None) -> None:
    """Raises ``RunError`` where a run began with another teacher."""
    if before != now:
        path = (now or before or {}).get("run")
        raise RunError(
            f"{folder.path} began with another teacher: {path} holds other weights; bring the first back, or "
            "name another folder for this run"
        )
