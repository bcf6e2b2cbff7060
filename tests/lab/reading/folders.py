"""Run folders as training leaves them, made without training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from danlu.spec import to_yaml
from danlu.spec.words import resolve
from danlu.train.files import to_json, write_json

FLOPS_PER_TOKEN = 10.0
SECONDS_PER_STEP = 0.5


@cache
def experiment(words: str) -> str:
    return to_yaml(resolve(words))


def make_run(
    folder: Path,
    words: str = "nano",
    scores: Mapping[int, float] | Sequence[float] = (2.0,),
    *,
    finished: bool = True,
    seconds_per_step: float = SECONDS_PER_STEP,
) -> Path:
    """A run with evaluations at steps: bits per byte by step (a list: at steps 1, 2, …)."""
    if not isinstance(scores, Mapping):
        scores = dict(enumerate(scores, start=1))
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text(experiment(words), encoding="utf-8")
    rows: list[dict[str, Any]] = []
    for step, score in scores.items():
        at = {"step": step, "tokens": 64 * step, "seconds": seconds_per_step * step}
        rows.append(at | {"flops": FLOPS_PER_TOKEN * 64 * step, "loss": score / 2, "lr": 1e-3})
        rows.append(at | {"bits_per_byte": score, "held_out_loss": score / 2})
    (folder / "metrics.jsonl").write_text("".join(to_json(row) + "\n" for row in rows), encoding="utf-8")
    if finished:
        last = max(scores)
        best = min(scores, key=lambda step: (math.isnan(scores[step]), scores[step]))
        write_json(folder / "summary.json", {
            "metric": {"name": "bits_per_byte", "value": scores[last]},
            "best": {"step": best, "value": scores[best]},
            "loss": scores[last] / 2, "steps": last, "tokens": 64 * last,
            "flops": FLOPS_PER_TOKEN * 64 * last, "parameters": 1000,
            "active_seconds": {"train": seconds_per_step * last}, "stopped": None,
        })  # fmt: skip
    return folder
