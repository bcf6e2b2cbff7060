"""Entries of a ledger as tests need them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from danlu.lab.ledger import Entry, record

QUESTION: dict[str, Any] = {
    "idea": "qk-norm", "on": "nano", "at": "steps", "statement": "QK-norm lowers the loss",
    "evidence": ["studies/try-qk-norm-on-nano"],
}  # fmt: skip


EARLY = {"updates": 300, "early": ["300 updates, of 2,000"]}
IN_REGIME = {"updates": 2100, "early": []}


def add(file: Path, **changed: Any) -> Entry:
    said: dict[str, Any] = {
        "idea": "qk-norm", "on": "nano", "statement": "QK-norm lowers the loss", "verdict": "better",
        "effect": -0.02, "interval": (-0.03, -0.01), "unit": "bits per byte", "seeds": 4, "at": "steps",
        "evidence": ["studies/try-qk-norm-on-nano"], "file": file,
    }  # fmt: skip
    return record(**said | changed)


def entry(**changed: Any) -> Entry:
    said: dict[str, Any] = {
        "id": "a", "date": "2026-01-01", "idea": "i", "statement": "s", "verdict": "better", "seeds": 4,
        "decision": "adopt", "scale": {"parameters": 1e6, "steps": 1000},
        "environment": {"danlu": "0.2.1", "torch": "2.11.0"},
    }  # fmt: skip
    return Entry.model_validate(said | changed)
