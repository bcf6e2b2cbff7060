"""The fit file: what is written is what is read, old files too; names in ASCII."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from danlu.files.json import write_json
from danlu.laws import LAWS, LawError, Points, Warned, fit, law, load, predict, read, resample, scatter
from danlu.laws.answer import Answer, answer
from danlu.laws.base import ascii_name

CHINCHILLA = law("chinchilla")
TRUTH = CHINCHILLA.theta("hoffmann")


@pytest.fixture(scope="module")
def found() -> Answer:
    """A fit to noisy points of Chinchilla's law, five sizes with eight data each, drawn by size."""
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(2e7, 2e9, 8), np.geomspace(1e9, 1e11, 5)))
    noise = np.exp(0.003 * np.random.default_rng(0).standard_normal(len(n)))
    points = Points(n=n, d=d, loss=CHINCHILLA.predict(TRUTH, {"n": n, "d": d}) * noise)
    return answer(CHINCHILLA, points, resamples=40, cluster=n, cluster_name="n")


def test_what_is_written_is_read(found: Answer, tmp_path: Path) -> None:
    write_json(tmp_path / "fit.json", found.json(draws=True) | {"columns": {"n": {"name": "params"}}})
    read = load(tmp_path / "fit.json")
    assert read.law is CHINCHILLA and read.points == 40 and read.loss == found.fit.loss
    np.testing.assert_array_equal(read.theta, found.fit.vector)
    assert found.draws is not None and read.draws is not None and read.covariance is not None
    np.testing.assert_array_equal(read.sample(), found.draws.theta)
    np.testing.assert_array_equal(read.covariance, np.cov(CHINCHILLA.inner(found.draws.theta).T))
    assert read.scatter == found.scatter and read.scatter.cluster == "n" and read.scatter.clusters == 8
    points = found.fit.points.with_compute()
    points = points.with_columns(**{"d/n": points["d"] / points["n"]})
    assert read.ranges == {x: (points[x].min(), points[x].max()) for x in ("n", "d", "c", "loss", "d/n")}
    assert found.draws.without is not None and read.without is not None
    np.testing.assert_array_equal(read.without.theta, found.draws.without.theta)
    assert read.without.clusters == 8 and read.calibration == found.calibration is not None
    assert read.columns == {"n": "params"} and read.warnings == tuple(found.warnings)
    assert [one.code for one in read.warnings] == [one.code for one in found.warnings]


def test_without_draws_a_sample_has_the_covariance(found: Answer, tmp_path: Path) -> None:
    write_json(tmp_path / "fit.json", found.json(draws=False))
    read = load(tmp_path / "fit.json")
    sample = read.sample(4000)
    assert "draws" not in found.json(draws=False) and read.draws is None and sample is not None
    expected, made = np.array(found.covariance), np.cov(CHINCHILLA.inner(sample).T)
    errors = np.sqrt(np.diag(expected))
    # A correlation of 4,000 draws is off by 1/√4000 = .016 at most on average: 5 of these.
    size = np.outer(errors, errors)
    np.testing.assert_allclose(made / size, expected / size, atol=0.08)


def test_one_file_gives_one_answer(tmp_path: Path) -> None:
    """Fifteen runs of 20 tokens a parameter leave A, B and their exponents open."""
    n = 2e7 * 1.5 ** np.arange(15)
    noise = np.random.default_rng(3).normal(1, 0.002, 15)
    loss = CHINCHILLA.predict(CHINCHILLA.theta("hoffmann"), {"n": n, "d": 20 * n}) * noise
    found = fit(CHINCHILLA, Points(n=n, d=20 * n, loss=loss))
    one = Answer(found, resample(found, 40), {}, None, scatter(found), None)
    place = {"n": 7e9, "d": 1.4e11}
    write_json(tmp_path / "fit.json", one.json())
    direct, read = predict(one.saved, place), predict(load(tmp_path / "fit.json"), place)
    assert direct.json() == read.json()
    assert (read.run_low <= read.mean_low).all() and (read.mean_high <= read.run_high).all()
    write_json(tmp_path / "bare.json", one.json(draws=False))
    bare = predict(load(tmp_path / "bare.json"), place)
    assert np.isnan(bare.mean_high).all() and np.isnan(bare.run_high).all()
    assert "too weakly determined for its covariance" in str(
        [str(warned) for warned in bare.warnings if warned.code == "no-intervals"]
    )


def test_a_file_of_before_is_read(tmp_path: Path) -> None:
    theta = dict(zip(CHINCHILLA.names, TRUTH.tolist(), strict=True))
    old = {"law": "chinchilla", "parameters": theta, "draws": [list(TRUTH), list(TRUTH)], "warnings": ["w"],
           "columns": ["n is the column params"], "delta": 0.001, "points": 9}  # fmt: skip
    (tmp_path / "old.json").write_text(json.dumps(old))
    read = load(tmp_path / "old.json")
    np.testing.assert_array_equal(read.theta, TRUTH)
    assert read.draws is not None and read.draws.shape == (2, 5) and read.warnings == ("w",)
    assert (read.covariance, read.scatter, read.ranges, read.columns) == (None, None, {}, {})
    (tmp_path / "old.json").write_text(json.dumps(old | {"draws": []}))
    assert load(tmp_path / "old.json").sample() is None


WRONG = {
    "schema": ("danlu.laws.fit/9", "is danlu.laws.fit/9; this danlu reads danlu.laws.fit/2"),
    "covariance": ([[1.0]], "holds a covariance of another law's parameters"),
    "draws": ([[1.0], [2.0]], "holds draws of another law's parameters"),
    "fixed": (["gamma"], "chinchilla has no parameter gamma"),
    "loss": ({"kind": "cauchy", "delta": None}, "loss.kind is 'cauchy'; allowed: huber, mse, lad"),
    "ranges": ({"n": 3}, "ranges.n holds a whole number, not a list"),
}


@pytest.mark.parametrize("part", WRONG)
def test_a_wrong_part_is_one_sentence(found: Answer, tmp_path: Path, part: str) -> None:
    value, said = WRONG[part]
    write_json(tmp_path / "fit.json", found.json() | {part: value})
    with pytest.raises(LawError, match=said):
        load(tmp_path / "fit.json")


def test_what_is_fixed_stays(found: Answer, tmp_path: Path) -> None:
    held = fit(CHINCHILLA, found.fit.points, fixed={"beta": 0.3, "E": 1.7})
    assert (held.theta["β"], held.theta["E"]) == (0.3, 1.7)
    given = found.json(draws=False) | {"fixed": ["beta"]}
    write_json(tmp_path / "fit.json", given)
    read = load(tmp_path / "fit.json")
    sample = read.sample(10)
    assert list(read.free) == [True] * 4 + [False] and sample is not None
    assert (sample[:, 4] == read.theta[4]).all() and len(np.unique(sample[:, 3])) == 10


def test_a_file_of_one_fit_has_no_groups(found: Answer, tmp_path: Path) -> None:
    path = tmp_path / "fit.json"
    write_json(path, found.json())
    assert load(str(path)).points == found.fit.points.size
    with pytest.raises(LawError, match="holds one fit and no groups; leave out #new"):
        load(f"{path}#new")
    with pytest.raises(LawError, match="is a fit, and points are needed"):
        read(path)


def test_names_of_every_law_are_ascii_and_apart() -> None:
    assert ascii_name("α_N") == "alpha_N" and ascii_name("L₀") == "L0"
    for one in LAWS.values():
        assert "".join(one.keys).isascii() and len({*one.keys}) == len(one.names), one.name
        assert [one.place(key) for key in one.keys] == [one.place(name) for name in one.names]


def test_a_warning_is_text_with_a_code() -> None:
    one = Warned("at-bound", "E is at its bound, 0")
    assert one == "E is at its bound, 0" and one.json() == {"code": "at-bound", "text": str(one)}
    assert copy.deepcopy([one])[0].code == "at-bound"
