"""Where on its way to a useful model a program's runs were, as far as it tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from danlu.lab.referee.findings import mean_of
from danlu.lab.referee.runs import Record
from danlu.lab.regime import UPDATES, Regime


def regime(records: Sequence[Record], tuned: bool | None) -> dict[str, Any]:
    """Of the baseline's runs, as every verdict of the lab carries it. What the program does not tell is none.
    Without its updates nobody knows the regime (``in_regime``), which is another thing than early."""
    updates = mean_of(records, "steps")
    tokens, parameters = mean_of(records, "tokens"), mean_of(records, "parameters")
    share = tokens / parameters if tokens is not None and parameters else None
    least = Regime(share, UPDATES if updates is None else round(updates), None, 0.0, True, tuned)
    unknown = {"updates": updates, "warmup": None, "whole_schedule": None}
    return {**least.json(), **unknown}


def in_regime(said: Mapping[str, Any]) -> bool | None:
    """Whether a verdict of this regime holds beyond the beginning of training; none where nobody knows."""
    if said.get("early"):
        return False
    return None if said.get("updates") is None else True
