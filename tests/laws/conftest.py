"""Published points of training runs, where they are at hand."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from danlu.laws import Points

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def scaling() -> Callable[[str], Path]:
    """The path of a file under scaling/ in the folder that $DANLU_SHARED names, or in ../shared/data."""
    folder = Path(os.environ.get("DANLU_SHARED", ROOT.parent / "shared" / "data")) / "scaling"

    def find(name: str) -> Path:
        path = folder / name
        if not path.is_file():
            pytest.skip(f"{path} is absent; DANLU_SHARED names the folder that holds scaling/{name}")
        return path

    return find


@pytest.fixture(scope="session")
def epoch(scaling: Callable[[str], Path]) -> Points:
    """Epoch AI's 240 points of Chinchilla's figure 4: 245 were read off, the five largest losses left out."""
    with scaling("epoch_chinchilla/svg_extracted_data.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = {"n": "Model Size", "c": "Training FLOP", "loss": "loss"}
    every = Points({name: [float(row[title]) for row in rows] for name, title in columns.items()})
    return every.take(every["loss"] < np.sort(every["loss"])[-5]).with_compute()
