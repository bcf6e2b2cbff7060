"""What an idea sets, and which family it is of: by this the ledger finds what was tried before."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from danlu.spec.experiment import Experiment

# The family of a field, as the catalog's ideas have one, by the longest name that it begins with:
# model.embedding_scale and model.embedding.size are of model.embedding.
FAMILIES = {
    "data": "data",
    "model": "shape",
    "model.base_width": "parametrisation",
    "model.bias": "bias",
    "model.bottleneck": "bottleneck",
    "model.bottleneck_after": "bottleneck",
    "model.dropout": "regularisation",
    "model.embedding": "embedding",
    "model.embedding_norm": "norm",
    "model.encoding": "coordinates",
    "model.feed_forward": "feed-forward",
    "model.first_omega": "coordinates",
    "model.init": "parametrisation",
    "model.init.branch": "residual",
    "model.init.embedding": "embedding",
    "model.init.readout": "output",
    "model.logit_scale": "output",
    "model.mixer": "attention",
    "model.mixer.log_n": "position",
    "model.norm": "norm",
    "model.omega": "coordinates",
    "model.pattern": "attention",
    "model.placement": "placement",
    "model.position": "position",
    "model.readout": "output",
    "model.residual": "residual",
    "model.softcap": "output",
    "model.tied": "output",
    "objective": "objective",
    "objective.anneal": "bottleneck",
    "objective.bottleneck": "bottleneck",
    "objective.conditional": "generation",
    "objective.coupling": "generation",
    "objective.grid": "generation",
    "objective.guidance": "generation",
    "objective.kernel": "generation",
    "objective.levels": "generation",
    "objective.path": "generation",
    "objective.prior": "generation",
    "objective.sampler": "generation",
    "objective.steps": "generation",
    "objective.weight": "generation",
    "optimizer": "optimizer",
    "schedule": "schedule",
    "train": "training",
    "train.quantize": "precision",
    "train.average": "averages",
    "train.outer": "workers",
    "train.precision": "precision",
    "train.ramp": "schedule",
    "train.weights": "precision",
    "vary": "schedule",
}
SEVERAL, UNKNOWN = "several", "other"


def about(words: Sequence[str], baseline: Experiment, variant: Experiment) -> dict[str, Any]:
    """What ``ask`` and ``record`` are told of an idea: ``sets``, the fields in which the variant differs and
    their values, and its ``family``. ``words``: what is laid over the baseline, ``+swiglu`` or
    ``field=value``."""
    from danlu.spec.replay import MISSING, difference

    differ = {name: value for name, _, value in difference(baseline, variant) if value is not MISSING}
    sets = json.loads(json.dumps(differ))
    return {"sets": sets, "family": family(words, sets)}


def family(words: Iterable[str], sets: Mapping[str, Any]) -> str:
    """The catalog's family where all ``words`` are ideas of it, else those of the fields in ``sets`` too (in
    the words, where nobody knows what they set); ``several`` where there are two or more."""
    words = list(words)
    named = [_of_catalog(word) for word in words]
    found = {name for name in named if name is not None}
    if None in named:
        found |= {of_field(name) for name in sets or [word.partition("=")[0] for word in words]}
    found = found - {UNKNOWN} or found
    return found.pop() if len(found) == 1 else SEVERAL if found else UNKNOWN


def _of_catalog(word: str) -> str | None:
    """The family that an idea gives itself."""
    from danlu.files.errors import DanluError
    from danlu.spec import catalog

    try:
        said = None if "=" in word else catalog.idea(word.removeprefix("+")).family
    except DanluError:  # a file that is gone, an idea of another program
        return None
    return None if said == "own" else said


def of_field(name: str) -> str:
    """The family of a field."""
    fits = [known for known in FAMILIES if re.match(rf"{re.escape(known)}(?![^._])", name)]
    return FAMILIES[max(fits, key=len)] if fits else UNKNOWN
