"""Published points of training runs, where they are at hand."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from danlu.draw.phrases import chinese
from danlu.laws import Points
from danlu.laws.base import LAWS
from danlu.laws.errors import Warned
from tests.chinese import left

# That say why by an error, which is in English.
BY_AN_ERROR = (
    "no intervals: ",
    "the extrapolation is not scored: ",
    "no command to train: ",
    " is left out: ",
)
NAMES = (*LAWS, "loss", "accuracy", "perplexity", "by group")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _no_warning_is_without_its_chinese(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of each warning that a test here brings about."""
    made = list[str]()
    new = Warned.__new__

    def noted(cls: type[Warned], code: str, text: object) -> Warned:
        made.append(str(text))
        return new(cls, code, text)

    monkeypatch.setattr(Warned, "__new__", noted)
    yield
    said = [chinese(text) for text in dict.fromkeys(made) if not any(why in text for why in BY_AN_ERROR)]
    assert {text: found for text in said if (found := left([text], NAMES))} == {}


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
