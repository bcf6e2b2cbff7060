"""How much repeated runs differ, from runs that were really done."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.common import RESULTS, ROOT

# Of modded-nanogpt's track 3: .0045 nats for 100 of 3,000 steps, the rate by which its own test trades loss
# for steps; hence ∂loss/∂ln steps.
TRACK3_ELASTICITY = 0.0045 / 100 * 3000
TRACK3_SPREAD = 0.00115  # nats, of a run
# Of danlu's bed, bits per byte: 2.636 at 54 k parameters against 2.096 at 181 k, 20 tokens a parameter.
BED_ELASTICITY = (2.636 - 2.096) / (2 * math.log(181 / 54))
FEWEST = 5  # runs of a group that tell a spread


class Noise(NamedTuple):
    """Differences of runs from their mean, as wide as runs are, and what a factor e of compute is worth, both
    in the loss."""

    residuals: np.ndarray[Any, np.dtype[np.float64]]
    elasticity: float

    @property
    def spread(self) -> float:
        return float(self.residuals.std(ddof=1))


def pools() -> dict[str, Noise]:
    """Those that are there, by name."""
    found = {"normal": normal(), "track 3": track3(), "bed": bed()}
    return {name: noise for name, noise in found.items() if noise is not None}


def normal() -> Noise:
    """A hundred thousand normal numbers, as wide as track 3's runs."""
    return Noise(np.random.default_rng(0).normal(0, TRACK3_SPREAD, 100_000), TRACK3_ELASTICITY)


def track3() -> Noise | None:
    """Last losses of repeated runs of github.com/KellerJordan/modded-nanogpt, records/track_3_optimization: a
    folder of logs is a group, where runs have as many steps. None where ``verdicts/track3.csv`` is not in the
    folder that $DANLU_SHARED names, or in ../shared/data."""
    folder = Path(os.environ.get("DANLU_SHARED", ROOT.parent / "shared" / "data"))
    path = folder / "verdicts" / "track3.csv"
    if not path.is_file():
        return None
    last: dict[tuple[str, str], tuple[int, int, float]] = {}
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            last[row["file"], row["run"]] = int(row["step"]), int(row["steps"]), float(row["val_loss"])
    groups: dict[tuple[str, int], list[float]] = {}
    for (name, _), (step, steps, loss) in last.items():
        if "/" in name and step == steps:
            groups.setdefault((name.rpartition("/")[0], steps), []).append(loss)
    several = [losses for losses in groups.values() if len(losses) >= FEWEST]
    return Noise(np.concatenate([centred(losses) for losses in several]), TRACK3_ELASTICITY)


def bed() -> Noise | None:
    """Runs of danlu's bed that differ by their seed, from the result of ``bench.verdicts``."""
    path = RESULTS / "verdicts.json"
    if not path.is_file():
        return None
    return Noise(centred(json.loads(path.read_text(encoding="utf-8"))["values"]), BED_ELASTICITY)


def centred(losses: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Minus their mean, and wider by what taking it takes away."""
    found = np.asarray(losses, float)
    return (found - found.mean()) * math.sqrt(len(found) / (len(found) - 1))
