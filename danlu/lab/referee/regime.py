"""Where on its way to a useful model a program's runs were, as far as it tells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from danlu.lab.referee.findings import mean_of
from danlu.lab.referee.runs import Record
from danlu.lab.regime import UPDATES, Regime


def regime(records: Sequence[Record], tuned: bool | None) -> dict[str, Any]:
    """Of the baseline's runs, as every verdict of the lab carries it. What the program does not tell is none,
    and no reason to call it early."""
    updates = mean_of(records, "steps")
    tokens, parameters = mean_of(records, "tokens"), mean_of(records, "parameters")
    share = tokens / parameters if tokens is not None and parameters else None
    known = Regime(share, UPDATES if updates is None else round(updates), None, 0.0, True, tuned)
    unknown = {"updates": updates, "warmup": None, "whole_schedule": None}
    return {**known.json(), **unknown}
