"""Which experiments are of one graph, so that their networks can be trained as one batch of networks.

What may differ is a number of each network's own: its seed, which also orders the data, and what the update
rule, its schedule and the initial weights are told. It enters a batched update as a vector.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from danlu.spec.durations import length
from danlu.spec.experiment import Experiment

DIGITS = 16


def graph_key(experiment: Experiment) -> str | None:
    """Sixteen hex digits, the same for experiments that differ in nothing but numbers which a batched update
    takes as vectors: ``train.seed``, ``train.clip``, those of ``optimizer`` (rates, decays, betas, ε),
    ``schedule``, ``vary`` and ``model.init``. A number of the rule that is 0, where a term falls away, is
    told from others. None for a run that is bounded by seconds, which those of its neighbours would be.

    So equal keys mean equal steps, batches, contexts, precisions and times of evaluation.
    """
    train = experiment.train
    if train.seconds is not None:
        return None
    said = experiment.model_dump()
    said["train"] |= {"seed": None, "clip": train.clip > 0}
    said["optimizer"] = _shape(said["optimizer"], zero=True)
    said["schedule"], said["vary"] = _shape(said["schedule"]), _shape(said["vary"])
    if "init" in said["model"]:  # of which one that is left out is a number, too
        init = said["model"]["init"]
        said["model"]["init"] = {name: "number" if v is None else _shape(v) for name, v in init.items()}
    text = json.dumps(said, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def _shape(value: Any, zero: bool = False) -> Any:
    """``value`` without its numbers; ``zero``: those that are 0 stay."""
    if isinstance(value, dict):
        return {name: _shape(part, zero) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_shape(part, zero) for part in value]
    if isinstance(value, float):
        return "number" if value or not zero else 0
    return "number" if isinstance(value, str) and _lasts(value) else value


def _lasts(text: str) -> bool:
    """Whether it is a duration such as ``2000 steps``."""
    try:
        length(text)
    except ValueError:
        return False
    return True
