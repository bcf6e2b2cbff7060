"""Summaries as a run leaves them, with what a test is not about filled in."""

from __future__ import annotations

from typing import Any


def summary(**changes: Any) -> dict[str, Any]:
    """A whole ``summary.json``."""
    return {
        "steps": 1, "tokens": 64, "parameters": 1000, "flops": 1e6, "loss": 1.0, "stopped": None,
        "active_seconds": {"train": 0.5}, "metric": {"name": "bits_per_byte", "value": 2.0},
        "best": {"step": 1, "value": 2.0},
    } | changes  # fmt: skip
