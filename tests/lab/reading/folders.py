"""Run folders as training leaves them, made without training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from danlu.files.json import to_json, write_json
from danlu.spec import Metric, to_yaml
from danlu.spec.words import resolve

FLOPS_PER_TOKEN = 10.0
SECONDS_PER_STEP = 0.5
ACCURACY = Metric("accuracy", "", "higher")


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
    metric: Metric | None = None,
    held_out: str | None = None,
    unit: str | None = None,
) -> Path:
    """A run with evaluations at steps: the metric by step (a list: at steps 1, 2, …). Without ``metric`` it
    is bits per byte, as danlu 0.3 left it. ``held_out``: what stands for the hash of the held-out text;
    ``unit``: what it is counted in, if not in tokens."""
    counted = f"{unit or 'token'}s"
    name = metric.name if metric else "bits_per_byte"
    about = {"unit": metric.unit, "better": metric.better} if metric else {}
    if not isinstance(scores, Mapping):
        scores = dict(enumerate(scores, start=1))
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text(experiment(words), encoding="utf-8")
    rows: list[dict[str, Any]] = []
    for step, score in scores.items():
        at = {"step": step, counted: 64 * step, "seconds": seconds_per_step * step}
        rows.append(at | {"flops": FLOPS_PER_TOKEN * 64 * step, "loss": score / 2, "lr": 1e-3})
        rows.append(at | {name: score, "held_out_loss": score / 2})
    (folder / "metrics.jsonl").write_text("".join(to_json(row) + "\n" for row in rows), encoding="utf-8")
    if held_out or metric:
        data = {"splits": {"held_out": {"text_sha256": held_out}}} if held_out else {}
        said = {"data": data, "metric": {"name": name, **about}} | ({"unit": unit} if unit else {})
        write_json(folder / "environment.json", said)
    if finished:
        last, sign = max(scores), metric.sign if metric else 1
        best = min(scores, key=lambda step: (math.isnan(scores[step]), sign * scores[step]))
        of_all = {
            name: {"value": scores[last], **about},
            "held_out_loss": {"value": scores[last] / 2, "better": "lower"},
        }
        write_json(folder / "summary.json", ({"metrics": of_all} if metric else {}) | {
            "metric": {"name": name, "value": scores[last], **about},
            "best": {"step": best, "value": scores[best]},
            "loss": scores[last] / 2, "steps": last, counted: 64 * last, "unit": unit,
            "flops": FLOPS_PER_TOKEN * 64 * last, "parameters": 1000,
            "active_seconds": {"train": seconds_per_step * last}, "stopped": None,
        })  # fmt: skip
    return folder
