"""How far a run went."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from danlu import data
from danlu.spec.words import resolve
from danlu.train.assemble import objective_of
from danlu.train.reporter import Silent
from danlu.train.run import train

WORDS = "nano model.width=16 model.layers=1 train.steps=12 data.context=32 train.evaluate_tokens=2048"


def test_a_run_says_its_regime(tmp_path: Path) -> None:
    experiment = resolve(f"{WORDS} schedule.warmup='3 steps'")
    summary = train(experiment, tmp_path / "run", Silent(), sample=False)
    assert summary is not None
    regime = summary["regime"]
    assert regime["tokens_per_parameter"] == 12 * 8 * 32 / summary["parameters"]
    assert (regime["updates"], regime["warmup"], regime["whole_schedule"]) == (12, 0.25, True)
    # The unigram of the whole training text, counted here by hand.
    source = data.prepare(experiment.data)
    assert isinstance(source, data.Dataset)
    often = Counter(source.train.ids.tolist())
    objective = objective_of(experiment, source)
    held_out = objective.held_out(2048)
    answers = np.concatenate([held_out.example([i], None)["targets"].ravel() for i in range(held_out.count)])
    total = sum(often.values()) + 257
    nats = -np.mean([math.log((often[int(token)] + 1) / total) for token in answers])
    below = (nats - summary["metrics"]["held_out_loss"]["value"]) / math.log(2)
    assert regime["bits_below_chance"] == pytest.approx(below, abs=0.02)


def test_images_are_no_stream_of_tokens(tmp_path: Path) -> None:
    summary = train(resolve("digits-mlp train.steps=3"), tmp_path / "run", Silent(), sample=False)
    assert summary is not None
    assert summary["regime"]["tokens_per_parameter"] is None
    assert math.isfinite(summary["regime"]["bits_below_chance"])
