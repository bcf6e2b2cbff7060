"""The small experiment that a part is put into."""

from __future__ import annotations

import copy
import json
import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from danlu import spec
from danlu.spec.errors import SpecError, did_you_mean
from danlu.spec.families import FAMILIES, Family

BATCH, LENGTH, WIDTH, HEADS, STEPS = 2, 8, 16, 2, 6
SMALL: dict[str, Any] = {
    "model": {"layers": 2, "width": WIDTH, "mixer": {"kind": "attention", "heads": HEADS}},
    "data": {},
    "optimizer": {"kind": "adamw"},
    "train": {
        "steps": STEPS, "batch": 4, "precision": "float32", "device": "cpu", "compile": False, "log_every": 1,
        "evaluate_every": None, "evaluate_tokens": 64, "checkpoint_every": STEPS // 2, "keep": 9,
    },
}  # fmt: skip
ACTIVATION = "model.feed_forward.activation"


def found(part: Any) -> tuple[Family, str]:
    """The family and kind of a part: its class or function, or its name. Raises ``SpecError`` for none, and
    for a kind of several families."""
    families = [FAMILIES[name] for name in sorted(FAMILIES)]
    families = [family for family in families if family.place or family.name == "activation"]
    if not isinstance(part, str):
        those = [(f, kind) for f in families for kind, own in f.own.items() if own.makes is part]
        what = f"{getattr(part, '__qualname__', part)!r} is not registered: decorate it with @danlu.part(…)"
    else:
        wanted, _, kind = part.rpartition(" ")
        for family in families:
            family.find(kind)
        those = [(f, kind) for f in families if kind in {**f.builtin, **f.own} and wanted in ("", f.name)]
        kinds = [kind for f in families for kind in (*f.builtin, *f.own)]
        what = f"there is no part {part!r}{did_you_mean(kind, kinds)}"
    if len(those) > 1:
        either = " or ".join(repr(f"{family.name} {kind}") for family, kind in those)
        raise SpecError(f"{part!r} is a kind of several families: write {either}")
    if not those:
        raise SpecError(what)
    return those[0]


def experiment_with(family: Family, given: dict[str, Any], folder: Path) -> spec.Experiment:
    """The small experiment with the part in its place, and with what the part needs beside it."""
    values = copy.deepcopy(SMALL)
    *above, last = (family.place or ACTIVATION).split(".")
    inside = values
    for name in above:
        inside = inside.setdefault(name, {})
    inside[last] = given
    own = family.own.get(given["kind"])
    if family.name == "mixer" and own is not None and "position" not in own.context:
        values["model"]["position"] = "none"
    if family.name in ("objective", "data"):
        objective, data = _pair(family, given["kind"])
        values["model"]["kind"] = objective.models[0]
        values["objective"] = given if family.name == "objective" else objective.model_fields["kind"].default
        values["data"] = given if family.name == "data" else {"kind": data}
    if values["data"].get("kind", "text") == "text":
        values["data"] |= {"corpus": str(folder / "corpus.jsonl"), "context": LENGTH}
    return spec.validate(values)


def _pair(family: Family, kind: str) -> tuple[Any, str]:
    """The specification of an objective, and a kind of data that it takes: the part, and one for it."""
    if family.name == "objective":
        objective: Any = family.find(kind)
        return objective, objective.data[0]
    objectives = FAMILIES["objective"]
    like = getattr(family.find(kind), "like", "")
    for name in (*objectives.builtin, *objectives.own):
        objective = objectives.find(name)
        if {kind, like} & set(objective.data):
            return objective, kind
    raise SpecError(
        f"no objective takes data of kind {kind}: say like = 'digits' in its class, or register one"
    )


@contextmanager
def corpus() -> Iterator[Path]:
    """A folder with a corpus of small documents, and with the cache meanwhile."""
    draw = random.Random(1)
    with tempfile.TemporaryDirectory() as name, patch.dict(os.environ, DANLU_CACHE=name):
        texts = (" ".join(draw.choices(("the", "a", "cat", "sat", "on", "mat"), k=90)) for _ in range(24))
        lines = "".join(json.dumps({"text": f"{text}."}) + "\n" for text in texts)
        (Path(name) / "corpus.jsonl").write_text(lines, encoding="utf-8", newline="\n")
        yield Path(name)
