"""A trained run as the teacher of another: of a flow that its pairs straighten (reflow), of a model of text
that its probabilities are targets for (distillation)."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

from danlu import code, spec
from danlu.files.json import to_json
from danlu.files.paths import cache_folder
from danlu.objectives import Flow, Language, Objective
from danlu.objectives.soft_targets import SoftTargets
from danlu.spec.words import resolve
from danlu.train import taught
from danlu.train.assemble import on_meta, outline
from danlu.train.clock import Clock
from danlu.train.errors import RunError
from danlu.train.folder import RunFolder
from danlu.train.load import load_run
from danlu.train.parallel import Processes
from danlu.train.whole import as_bytes


def teach(
    experiment: spec.Experiment, objective: Objective, group: Processes, clock: Clock | None = None
) -> dict[str, Any] | None:
    """Give ``objective`` its teacher, frozen and on the device of ``group``, if the experiment names one; a
    teacher that is described in words is trained first, by the first process.

    ``clock``: where the seconds of that are taken from start-up again.

    Returns what is kept of it: ``run``, ``step``, ``weights``, their SHA-256, and what its training cost;
    None where there is none. Raises ``RunError`` for a folder that is no run, or one that cannot teach this.
    """
    said = taught.named(experiment)
    if said is None:
        return None
    taught.check(experiment, group.count)
    try:
        path = folder_of(said.run, experiment, objective)
        words = taught.words_of(said.run, experiment.train.seed)
        if words is not None:
            began = time.perf_counter()
            group.on_first(lambda: taught.train_first(words, path))
            if clock is not None:  # that is the teacher's own time
                clock.add("startup", began - time.perf_counter())
        loaded = load_run(path)
        model = loaded.model.to(group.device)
        if isinstance(objective, Flow):
            objective.teach(loaded.objective, model)
        elif isinstance(objective, Language) and objective.taught is not None:
            objective.taught.take(objective, loaded.objective, model)
    except (RunError, spec.SpecError, ValueError) as error:
        raise RunError(f"{said.field} = {said.run}: {error}") from None
    kept = hashlib.sha256()
    for name, tensor in sorted(loaded.model.state_dict().items()):
        kept.update(name.encode() + as_bytes(tensor).tobytes())
    keep(experiment, objective, kept.hexdigest())
    return {"run": said.run, "step": loaded.step, "weights": kept.hexdigest(), **taught.cost(path)}


def keep(experiment: spec.Experiment, objective: Objective, weights: str) -> None:
    """Let the likeliest tokens of the teacher with these ``weights`` be kept in danlu's cache, if that is
    asked for, under all that they follow from: the texts, which (seed, sample) decides, T, and the code. The
    teacher computes in float32, whatever the precision of the run."""
    if not isinstance(objective, Language) or objective.taught is None:
        return
    settings, context = objective.taught.settings, objective.context
    if not settings.cache or settings.top is None or settings.top >= objective.known:
        return
    splits = to_json({"splits": objective.record.get("splits")})
    data, seed = experiment.data.model_dump_json(), experiment.train.seed
    objective_of = experiment.objective.model_dump(exclude={"teacher"})
    parts = [weights, splits, data, objective_of, seed, settings.top, settings.temperature]
    parts.append(code.loaded().tier_a)
    name = hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[: taught.DIGITS]
    objective.taught.kept = SoftTargets(cache_folder() / "teachers" / "said" / name, context, settings.top)


def folder_of(run: str, experiment: spec.Experiment, objective: Objective) -> Path:
    """The folder that ``run`` names, or that of the experiment that it describes."""
    words = taught.words_of(run, experiment.train.seed)
    if words is None:
        return Path(run)
    return taught.folder_of(words, to_json({"splits": objective.record.get("splits")}))


def sketch(experiment: spec.Experiment, objective: Objective) -> None:
    """Give ``objective`` the outline of its teacher, on the meta device, by which FLOPs are counted before
    anything runs."""
    said = taught.named(experiment)
    if said is None:
        return
    words = taught.words_of(said.run, experiment.train.seed)
    try:
        teacher = resolve(words or [str(RunFolder(Path(said.run)).experiment)])
        if isinstance(objective, Flow):
            objective.follow(*outline(teacher)[:2])
        elif isinstance(objective, Language) and objective.taught is not None:
            objective.taught.model = on_meta(teacher, objective)
    except (spec.DanluError, ValueError) as error:
        raise RunError(f"{said.field} = {said.run}: {error}") from None


def check_teacher(folder: RunFolder, before: dict[str, Any] | None, now: dict[str, Any] | None) -> None:
    """Raises ``RunError`` where a run began with another teacher."""
    if (before or {}).get("weights") != (now or {}).get("weights"):
        path = (now or before or {}).get("run")
        raise RunError(
            f"{folder.path} began with another teacher: {path} holds other weights; bring the first back, or "
            "name another folder for this run"
        )
