"""What samples are judged by is the measure of that name, with its error."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from danlu.data import DataError, prepare
from danlu.distances import DistanceError, directions, energy, frechet, mmd, sliced, wasserstein
from danlu.distances.digits import digit_features
from danlu.objectives.likeness import Likeness
from danlu.spec import SpecError
from danlu.spec.data import Digits
from danlu.spec.metrics import DISTANCES, Judge
from danlu.spec.points import EightGaussians
from danlu.spec.words import resolve

MEASURES = {
    "energy": energy,
    "sliced": lambda a, b: sliced(a, b, directions(2, lines=100)),
    "w2": wasserstein,
    "mmd": lambda a, b: mmd(a, b, bandwidths=(0.25, 1, 4)),
}


def test_too_few_to_compare_with_are_told_before_anything_runs(tmp_path) -> None:
    np.save(tmp_path / "few.npy", np.arange(6.0).reshape(3, 2))
    source = prepare(
        resolve(["flow-8gaussians", "data.kind=arrays", f"data.file={tmp_path / 'few.npy'}"]).data
    )
    with pytest.raises(
        DataError, match=r"what is held out, and that is 1; allowed: 4 or more \(data.held_out"
    ):
        Likeness(source, "energy", 64)


def test_each_judge_has_its_metric() -> None:
    assert set(get_args(Judge)) == set(DISTANCES) == {*MEASURES, "frechet"}
    for judge in MEASURES:
        first = resolve(["flow-8gaussians", f"objective.judge={judge}"]).objective.metrics[0]
        assert first == DISTANCES[judge] and first.better == "lower"


@pytest.mark.parametrize("judge", MEASURES)
def test_points_are_compared_with_as_many_fresh_ones(judge: Judge) -> None:
    points = prepare(EightGaussians())
    made = np.random.default_rng(0).normal(size=(64, 2))
    wanted = MEASURES[judge](made, points.fresh(2, 64)[0])
    metric = DISTANCES[judge]
    found = Likeness(points, judge, 64).metric(made)
    assert found == {metric.name: wanted.value, metric.error: wanted.error} and wanted.error > 0


def test_digits_by_their_features_and_by_pairs() -> None:
    """W₂ pairs as many samples as there are data; the Fréchet distance takes all data."""
    digits = prepare(Digits())
    made = np.random.default_rng(0).uniform(size=(400, 1, 8, 8))
    data = digits.held_out[0]
    count = len(data)
    assert count < 400
    paired = wasserstein(made[:count].reshape(count, -1), data.reshape(count, -1))
    assert Likeness(digits, "w2", 400).metric(made) == {"w2": paired.value, "w2_error": paired.error}
    distance = frechet(digit_features(made), digit_features(np.concatenate([digits.train[0], data])))
    found = Likeness(digits, "frechet", 400).metric(made)
    assert found == {"frechet_distance": distance.value, "frechet_distance_error": distance.error}


def test_too_many_samples_for_an_assignment_are_refused() -> None:
    words = ["flow-8gaussians", "objective.judge=w2", "objective.samples=5001"]
    with pytest.raises(SpecError, match=r"objective.samples = 5001 are too many for .*judge = w2"):
        resolve(words)
    with pytest.raises(DistanceError):
        wasserstein(np.zeros((5001, 2)), np.zeros((5001, 2)))
    resolve([*words[:2], "objective.samples=5000"])
