"""Predicting, scoring, keeping and reading; NLTK's weights; sentences for what does not fit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from danlu.files.errors import FileError
from danlu.maxent import (
    MaxentError,
    by_hand,
    contexts,
    fit,
    indicators,
    linear,
    of_counts,
    of_labels,
    of_moments,
    read,
)
from tests.maxent.cases import table


def test_scores_are_those_of_the_probabilities() -> None:
    x, y = table(0, rows=120, columns=4)
    features = linear(x, "abc")
    labels = np.array(list("abc"))[y]
    found = fit(of_labels(features, labels))
    score = found.model.score(features, labels)
    assert score.nats == pytest.approx(found.found.nll, rel=1e-12)
    assert score.bits == pytest.approx(found.found.nll / math.log(2), rel=1e-12)
    assert score.accuracy == np.mean(np.array(found.model.predict(features)) == labels)
    counts = 2.5 * np.eye(3)[y]
    assert found.model.score_counts(features, counts).nats == pytest.approx(score.nats, rel=1e-12)


def test_a_barred_pair_costs_infinity() -> None:
    features, counts = contexts([0, 1, 0, 1, 0, 1, 1], 2)
    model = fit(of_counts(features, counts, zeros="bar"), "gis").model
    assert model.score_counts(features, counts).nats < 1
    assert model.score_counts(features, [[1, 0], [0, 1]]).nats == math.inf  # 0 never follows 0


def test_a_model_is_kept_to_the_last_bit(tmp_path) -> None:
    features, counts = contexts(np.random.default_rng(0).integers(5, size=40), 5)
    model = fit(of_counts(features, counts, zeros="bar")).model
    model.save(tmp_path / "model.json")
    again = read(tmp_path / "model.json")
    assert (again.classes, again.names) == (model.classes, model.names)
    np.testing.assert_array_equal(again.weights, model.weights)
    np.testing.assert_array_equal(again.barred, model.barred)
    assert model.barred.any()
    np.testing.assert_array_equal(again.log_probabilities(features), model.log_probabilities(features))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "has no 'form'"),
        ('{"form": "danlu maxent 1", "classes": ["a"], "weights": {"x": "y"}, "barred": []}', "not a number"),
        ('{"form": "danlu maxent 1", "classes": ["a"], "weights": {"x": 1}, "barred": ["z"]}', "no weight"),
        ('{"form": "danlu maxent 1", "classes": ["a"], "weights": {"x": "NaN"}, "barred": []}', "infinite"),
    ],
)
def test_a_file_that_is_no_model_is_refused(tmp_path, text: str, said: str) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises((FileError, MaxentError), match=said):
        read(tmp_path / "model.json")


def test_unknown_values_of_an_indicator_have_no_feature() -> None:
    known = {"colour": ["blue", "red"]}
    features = indicators({"colour": ["red", "green"]}, "ab", known)
    assert features.names[:3] == ("colour = blue & a", "colour = blue & b", "colour = red & a")
    np.testing.assert_array_equal(features.x.toarray(), [[0, 1, 1], [0, 0, 1]])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: of_labels(linear([[0.0], [1.0]], "ab"), ["a", "c"]), "'c' is none of the classes a, b"),
        (lambda: of_labels(linear([[0.0], [1.0]], "ab"), ["a"]), "1 labels for 2 rows"),
        (lambda: of_counts(linear([[0.0]], "ab"), [[1, -1]]), "none below 0"),
        (lambda: of_counts(linear([[0.0]], "ab"), [[1, 1, 1]]), "need"),
        (lambda: of_counts(linear([[0.0]], "ab"), [[1, 1]], smooth=-1), "smooth = -1"),
        (lambda: of_moments(by_hand({"f": [[1, 2]]}, "ab"), [1, 2]), "give 1 finite numbers"),
        (lambda: linear([[np.nan]], "ab"), "NaN or infinite"),
        (lambda: linear([[1.0]], "aa"), "'a' is given twice"),
        (lambda: linear([1.0], "ab"), "rows, columns"),
        (lambda: by_hand({"f": [[1, 2]], "g": [[1, 2], [3, 4]]}, "ab"), "features have the shapes"),
        (lambda: contexts([0, 1, 5], 4), "0 ≤ token < 4"),
        (lambda: contexts([0.5, 1.0], 4), "whole numbers"),
        (lambda: fit(of_labels(linear([[-1.0], [1.0]], "ab"), "ab"), "gis"), "shift its column up"),
        (lambda: fit(of_labels(linear([[1.0], [1.0]], "ab"), "ab"), "newton"), "the methods are gis, iis"),
        (lambda: fit(of_labels(linear([[1.0], [1.0]], "ab"), "ab"), passes=0), "passes = 0"),
        (
            lambda: fit(of_labels(linear([[1.0], [1.0]], "ab"), "ab")).model.predict(linear([[1.0]], "ac")),
            "'c' among them",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_gets_its_sentence(make, said: str) -> None:
    with pytest.raises(MaxentError, match=said):
        make()


@pytest.mark.slow
def test_nltk_keeps_its_weights_in_base_two() -> None:
    """Its weights times ln 2, by their names, give its probabilities; after some hundred passes, ours."""
    maxent = pytest.importorskip("nltk.classify.maxent")
    generator = np.random.default_rng(0)
    rows = [{"a": str(generator.integers(2)), "b": str(generator.integers(3))} for _ in range(80)]
    labels = [str((int(row["a"]) + int(row["b"]) + generator.integers(3)) % 3) for row in rows]
    theirs = maxent.MaxentClassifier.train(
        list(zip(rows, labels, strict=True)), algorithm="iis", trace=0, max_iter=60
    )
    expected = np.array([[theirs.prob_classify(row).prob(y) for y in "012"] for row in rows])
    features = indicators({key: [row[key] for row in rows] for key in "ab"}, "012", constant=False)
    place = {name: i for i, name in enumerate(features.names)}
    weights = np.zeros(len(place))
    for (column, value, y), index in theirs._encoding._mapping.items():
        weights[place[f"{column} = {value} & {y}"]] = theirs.weights()[index] * math.log(2)
    scores = features.scores(weights)
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(p, expected, atol=1e-12)
    here = of_labels(features, labels)
    assert here.unseen == ()  # NLTK fails on NumPy 2 where a feature is never seen
    np.testing.assert_allclose(fit(here).found.p, expected, atol=1e-6)
