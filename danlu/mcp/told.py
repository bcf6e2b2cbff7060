"""What is known of a verdict beside it: how often its held-out text was asked, Holm over the session, digests
by which edits are found. No torch here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from danlu.files.errors import DanluError
from danlu.lab.ledger import Entry
from danlu.lab.ledger.entry import BY_HAND
from danlu.lab.statistics import LEVEL, holm
from danlu.lab.yardstick import why_apart


def entry_digest(entry: Entry) -> str:
    """Of what a verdict wrote into the ledger; what people write beside it is left out."""
    said = {name: value for name, value in entry.written().items() if name not in BY_HAND}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


@cache
def held_out(on: str) -> str | None:
    """By which values are compared on the baseline ``on``: equal texts, where they are of the same held-out
    data. None where the words are no experiment here."""
    from danlu.spec.overrides import leaves
    from danlu.spec.words import resolve

    try:
        experiment = resolve(on)
    except DanluError:
        return None
    fields = leaves(experiment.model_dump(mode="json"))
    said = {name: value for name, value in fields.items() if name.startswith("data.") and why_apart(name)}
    return ", ".join(f"{name} {value}" for name, value in sorted(said.items()) if value is not None)


def tries(entries: Iterable[Entry], on: str) -> dict[str, Any]:
    """How many entries of the ledger were decided by the same held-out data as those on ``on``."""
    text = held_out(on)
    asked = [held_out(entry.on) for entry in entries if entry.on]
    return {
        "held_out": text,
        "entries": sum(one == text for one in asked) if text is not None else None,
        "not_known": asked.count(None),
    }


def over_session(own: Mapping[str, float], others: Sequence[float]) -> dict[str, Any]:
    """The p values of a study by idea, adjusted among all of the session that were decided by the same
    held-out data (Holm 1979), ``others`` being those of its other studies."""
    adjusted = holm([*own.values(), *others])
    return {
        "questions": len(adjusted),
        "p": dict(zip(own, adjusted, strict=False)),
        "at": 1 - LEVEL,
        "shown": [name for name, p in zip(own, adjusted, strict=False) if p <= 1 - LEVEL],
    }


def unadjusted(finding: Mapping[str, Any]) -> float:
    """The p value of a finding before it was adjusted for the other ideas of its command."""
    factor = (1 - LEVEL) / (1 - finding["level"])
    return float(min(1.0, finding["p"] / factor))
