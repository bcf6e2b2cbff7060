"""What a held-out value is of: where two runs differ in one of these fields, their values are of different
things and rank nothing. No torch, no specifications: a list of runs is read without them."""

from __future__ import annotations

from functools import lru_cache

_TEXT = "the values would be of different held-out examples"
FIELDS = {
    "objective": "values of two objectives are not of the same thing",
    "data.kind": _TEXT,
    "data.corpus": _TEXT,
    "data.held_out": _TEXT,
    "data.label": _TEXT,
    "data.file": _TEXT,
    **{f"data.{field}": _TEXT for field in ("of", "pixels", "points", "low", "high")},  # signals
    "train.evaluate_tokens": _TEXT,
}
# What is added to the training loss alone; the metric is without it.
PENALTIES = ("objective.z_loss", "objective.smoothing", "objective.teacher")


@lru_cache(maxsize=4096)  # asked of every field of thousands of runs, which have the same few
def why_apart(field: str) -> str | None:
    """Why runs that differ in ``field`` cannot be compared by their metric; None where they can."""
    if any(field == name or field.startswith(f"{name}.") for name in PENALTIES):
        return None
    return next((why for name, why in FIELDS.items() if field == name or field.startswith(f"{name}.")), None)
