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
    "model.dropout": "regularisation",
    "model.embedding": "embedding",
    "model.feed_forward": "feed-forward",
    "model.init": "parametrisation",
    "model.logit_scale": "output",
    "model.mixer": "attention",
    "model.norm": "norm",
    "model.pattern": "attention",
    "model.placement": "placement",
    "model.position": "position",
    "model.readout": "output",
    "model.residual": "residual",
    "model.softcap": "output",
    "model.tied": "embedding",
    "objective": "objective",
    "optimizer": "optimizer",
    "schedule": "schedule",
    "train": "training",
    "train.average": "averages",
    "train.precision": "precision",
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
    """The catalog's family of the ideas among ``words``, else that of the fields in ``sets``; ``several``
    where there are two or more."""
    from danlu.spec import catalog
    from danlu.spec.errors import DanluError

    found = set()
    for word in words:
        if "=" in word:
            found.add(of_field(word.partition("=")[0]))
            continue
        try:
            named = catalog.idea(word.removeprefix("+")).family
        except DanluError:  # a file that is gone, or not an idea of ours
            named = "own"
        found |= {named} if named != "own" else {of_field(name) for name in sets}
    found = found - {UNKNOWN} or found
    return found.pop() if len(found) == 1 else SEVERAL if found else UNKNOWN


def of_field(name: str) -> str:
    """The family of a field."""
    fits = [known for known in FAMILIES if re.match(rf"{re.escape(known)}(?![^._])", name)]
    return FAMILIES[max(fits, key=len)] if fits else UNKNOWN
