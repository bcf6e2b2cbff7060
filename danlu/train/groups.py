"""Who gets what: the groups of an experiment's optimizer, told without running or allocating it."""

from __future__ import annotations

from typing import Any

from danlu import spec
from danlu.optim.build import assign
from danlu.optim.groups import over_layers
from danlu.train.costs import outline, vocabulary_of
from danlu.train.plan import updates_of


def report(experiment: spec.Experiment, vocabulary: int | None = None) -> list[dict[str, Any]]:
    """The parameters of ``experiment`` with a tokenizer of ``vocabulary`` ids (left out: as far as known
    before the data is prepared), those that differ by the layer alone in one row.

    A row has ``names``, a pattern (``blocks.*.mixer.qkv.weight``), and the ``layers`` that it stands for, if
    they are not all that there are; ``tensors``, how many; ``role``, ``shape``; the ``rule``, and in
    ``settings`` what is said to it: ``lr``, the peak rate, ``weight_decay``, and the rule's own. Raises
    ``SpecError`` for a group whose pattern of names matches nothing.
    """
    ids = vocabulary_of(experiment.data)[0] if vocabulary is None else vocabulary
    _, model, _, _ = outline(experiment, ids)
    rows: dict[Any, dict[str, Any]] = {}
    layers: dict[str, set[int]] = {}
    found: dict[Any, set[int]] = {}
    for p, rule, settings in assign(experiment.optimizer, model, updates_of(experiment)):
        names, shape = over_layers(p.name), list(p.parameter.shape)
        key = (names, rule.__name__, str(settings), str(shape))
        empty = {"names": names, "layers": None, "tensors": 0, "role": p.role, "shape": shape}
        row = rows.setdefault(key, {**empty, "rule": rule.__name__, "settings": settings})
        row["tensors"] += 1
        if names != p.name:
            layer = int(next(part for part in p.name.split(".") if part.isdigit()))
            layers.setdefault(names, set()).add(layer)
            found.setdefault(key, set()).add(layer)
    for key, row in rows.items():
        if found.get(key, set()) != layers.get(row["names"], set()):
            row["layers"] = sorted(found[key])
    return list(rows.values())
