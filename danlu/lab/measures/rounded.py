"""A trained run in few bits."""

from __future__ import annotations

import copy

import torch

from danlu.lab.errors import LabError
from danlu.lab.measures.trained import Trained
from danlu.lab.quantized.settings import Settings
from danlu.lab.quantized.work import round_model
from danlu.models import Model
from danlu.nn import Block
from danlu.quantization import norm_seams
from danlu.train.quantized import round_activations

PLANTED, LARGER = "planted", 100.0


def metric(run: Trained, how: str) -> float:
    """The primary metric once ``danlu quantize`` was done: ``how`` is FORMAT/METHOD/GROUP/ACTIVATIONS, of
    which the last ones may be left out, as in ``int2/gptq`` or ``int8/rtn/channel/int8``. After ``planted/``
    one channel of what norms give is a hundred times as large, and read by weights a hundred times as small:
    the same function, with an outlier. Raises ``LabError`` for what cannot be done.
    """
    words = how.split("/")
    planted = words[0] == PLANTED
    to, by, group, activations, *rest = [*words[planted:], *[""] * 4]
    if any(rest):
        raise LabError(f"rounded:{how} has too many parts; allowed: FORMAT/METHOD/GROUP/ACTIVATIONS")
    settings = Settings.of(to, by or "rtn", group or None, activations=activations or None)
    model = copy.deepcopy(run.run.model)
    try:
        if planted:
            plant(model)
        made = round_model(run.experiment, model, run.objective, settings)
    except ValueError as error:
        raise LabError(f"{run.folder}: rounded:{how}: {error}") from None
    round_activations(made.model, made.weights, settings.activations)
    return run.score(made.model, run.objective, run.held_out)


@torch.no_grad()
def plant(model: Model) -> None:
    """Make the first channel of every norm that linear maps alone read a hundred times larger, in place, and
    what they read it by as many times smaller. Raises ValueError where no norm has a gain."""
    seams = [seam for block in model.modules() if isinstance(block, Block) for seam in norm_seams(block)]
    if not seams:
        raise ValueError("no norm has a gain on which an outlier could be planted; set model.norm.gain=true")
    for seam in seams:
        s = torch.ones(seam.readers[0].in_features)
        s[0] = 1 / LARGER
        seam.rescale(s)
