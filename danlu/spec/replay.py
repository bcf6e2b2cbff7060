"""An experiment written out, laid flat, and compared with another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from danlu.files.yaml import dump
from danlu.spec.experiment import Experiment
from danlu.spec.overrides import leaves

MISSING = "–"  # a field that one of two experiments does not have


def to_yaml(experiment: Experiment) -> str:
    """Every field, nothing left to defaults: read back, it is the same experiment exactly."""
    return dump(experiment.model_dump())


def flatten(experiment: Experiment) -> dict[str, Any]:
    """Every value by its dotted name."""
    return leaves(experiment.model_dump())


def difference(a: Experiment, b: Experiment) -> list[tuple[str, Any, Any]]:
    """``(field, in a, in b)`` for what differs; a field that one kind lacks shows as ``–``."""
    return list(_differ(a.model_dump(), b.model_dump(), ""))


def _differ(a: Mapping[str, Any], b: Mapping[str, Any], inside: str) -> list[tuple[str, Any, Any]]:
    rows: list[tuple[str, Any, Any]] = []
    for key in dict.fromkeys([*a, *b]):
        left, right = a.get(key, MISSING), b.get(key, MISSING)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            rows += _differ(left, right, f"{inside}{key}.")
        elif type(left) is not type(right) or left != right:
            rows.append((f"{inside}{key}", left, right))
    return rows
