"""A model taken over as a run of danlu's, standing before its first step."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from danlu import objectives
from danlu.data import Dataset
from danlu.interop.errors import InteropError
from danlu.interop.folder import TOKENIZER
from danlu.interop.huggingface import Imported, write_kept
from danlu.spec import to_yaml
from danlu.train import checkpoint, store
from danlu.train.folder import RunFolder
from danlu.train.precision import LossScale
from danlu.train.state import TrainerState


def save_run(imported: Imported, path: Path) -> tuple[str, ...]:
    """Write the folder of a run: experiment, tokenizer, and a checkpoint of step 0 with the model's weights
    and no optimizer's state, so that it can be sampled from, and training begin; and what an export writes
    again. Returns what was changed of the tokenizer, in sentences.

    Raises InteropError if the model came without tokenizer, or has fewer ids
    than tokenizer and objective need, or the folder holds a run with checkpoints.
    """
    tokenizer = imported.reads_by()
    data = imported.experiment.text
    needed = objectives.build(imported.experiment.objective, Dataset.outline(data, tokenizer)).vocabulary
    has = imported.model.embedding.weight.shape[0]
    if needed > has:
        raise InteropError(
            f"the model has {has:,} ids, and its tokenizer, with what the objective adds, {needed:,}, more "
            "than there are weights for; use the model in Python, by danlu.interop.from_huggingface"
        )
    if store.latest_step(path) is not None:
        raise InteropError(f"{path} holds a run with checkpoints already; name another folder")
    # The run's own tokenizer, which knows where a text ends.
    data = imported.experiment.text.model_copy(update={"tokenizer": str((path / TOKENIZER).resolve())})
    experiment = imported.experiment.model_copy(update={"data": data})
    with RunFolder.create_or_open(path, to_yaml(experiment)) as folder:
        tokenizer.save(folder.path / TOKENIZER)
        write_kept(folder.path, imported.kept)
        state = {
            "position": asdict(TrainerState()),
            "scale": LossScale().state(),
            "clock": {},
            "processes": 1,
            "average": 0,
        }
        checkpoint.save(folder.path, 0, {"model": dict(imported.model.state_dict())}, state)
    return tokenizer.notes
