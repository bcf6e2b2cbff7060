"""``pairs.json`` in a trial's folder: which runs its pairs are of, for whoever draws them meanwhile.

No torch here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.files.errors import FileError
from danlu.files.json import misfit, read_json, write_json
from danlu.spec.metrics import Metric, loss_of

FILE = "pairs.json"
SHAPE = [{
    "idea": str, "at": str, "metric": str, "unit": str, "better": str, "loss_unit": (str, None),
    "runs": [{"seed": int, "baseline": str, "variant": str}],
}]  # fmt: skip


def keep(
    study: Path,
    metrics: Sequence[Metric],
    found: Mapping[tuple[str, str], Iterable[tuple[int, Path, Path]]],
) -> None:
    """Write down the folders of baseline and variant, by idea, equality (or rung) and seed; runs are named by
    the name of their folder in the pool. They need not be there yet. ``metrics``: of the objective, the first
    decides; the loss is among them."""
    metric = metrics[0]
    rows: list[dict[str, Any]] = [
        {
            "idea": idea, "at": at, "metric": metric.name, "unit": metric.unit, "better": metric.better,
            "loss_unit": loss_of(metrics).unit,
            "runs": [{"seed": seed, "baseline": b.name, "variant": v.name} for seed, b, v in runs],
        }
        for (idea, at), runs in found.items()
    ]  # fmt: skip
    write_json(study / FILE, rows)


def kept(study: Path) -> list[dict[str, Any]]:
    """The same, read; nothing where nothing was written down, as before danlu 0.4, or is damaged."""
    try:
        rows: list[dict[str, Any]] = read_json(study / FILE)
    except FileError:
        return []
    return [] if misfit(rows, SHAPE) else rows
