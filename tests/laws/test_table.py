"""Points: what is accepted, and the sentence for what is not."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import rankdata

from danlu.laws import LAWS, LawError, Points, check, fit, law
from danlu.laws.table import ranks

CHINCHILLA = law("chinchilla")
N, D = np.repeat([1e7, 1e8, 1e9], 3), np.tile([1e9, 1e10, 1e11], 3)
LOSS = CHINCHILLA.predict(CHINCHILLA.theta("hoffmann"), {"n": N, "d": D})


def replaced(values, index, value):
    values = values.copy()
    values[index] = value
    return values


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (
            {"n": N, "d": D, "loss": replaced(LOSS, 4, np.nan)},
            "column loss holds nan in point 5 (the only one)",
        ),
        (
            {"n": N, "d": D, "loss": replaced(LOSS, [1, 2], np.inf)},
            "column loss holds inf in point 2 (and 1 more)",
        ),
        ({"n": N, "d": D[:-1], "loss": LOSS}, "columns must be equally long: n 9, d 8, loss 9"),
        ({"n": N, "d": D, "loss": ["low"] * 9}, "column loss is not numbers"),
        ({"n": N.reshape(3, 3)}, "column n must be one-dimensional, not of shape (3, 3)"),
    ],
)
def test_columns_that_are_none(columns, sentence):
    with pytest.raises(LawError) as caught:
        Points(columns)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"n": N, "d": D}, "chinchilla needs a column loss (held-out loss, nats/token); there are n, d"),
        ({"n": N, "loss": LOSS}, "chinchilla needs a column d (tokens trained on, tokens)"),
        (
            {"n": N, "d": D, "loss": replaced(LOSS, 0, 0.0)},
            "needs loss > 0, but point 1 has 0 (the only one)",
        ),
        ({"n": N, "d": D, "loss": replaced(LOSS, 8, -2.5)}, "needs loss > 0, but point 9 has -2.5"),
        ({"n": replaced(N, 3, -1), "d": D, "loss": LOSS}, "needs n > 0, but point 4 has -1"),
        ({"n": N[:4], "d": D[:4], "loss": LOSS[:4]}, "5 parameters (E, A, B, α, β), too many for 4 points"),
        ({"n": N[:6], "d": D[:6], "loss": LOSS[:6]}, "at least 3 different values of n, but there are 2"),
        ({"n": N, "d": D[[0] * 9], "loss": LOSS}, "at least 3 different values of d, but there is 1"),
    ],
)
def test_points_that_cannot_determine_the_law(columns, sentence):
    with pytest.raises(LawError) as caught:
        fit(CHINCHILLA, Points(columns))
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_good_points_pass():
    check(CHINCHILLA, Points(n=N, d=D, loss=LOSS))


def test_any_two_of_size_tokens_and_compute_give_the_third():
    full = {"n": N, "d": D, "c": 6 * N * D}
    for missing in full:
        points = Points({name: column for name, column in full.items() if name != missing}).with_compute()
        np.testing.assert_allclose(points[missing], full[missing], rtol=1e-15)
    assert set(Points(n=N).with_compute()) == {"n"}


def test_points_are_a_mapping_that_does_not_change():
    points = Points(n=N, d=D, run=range(9))
    assert list(points) == ["n", "d", "run"] and points.size == 9
    with pytest.raises(ValueError, match="read-only"):
        points["n"][0] = 1
    N_before = N[0]
    assert points.take(points["d"] == 1e10)["run"].tolist() == [1, 4, 7] and N[0] == N_before


def test_other_mistakes_have_sentences_too():
    points = Points(n=N, d=D, loss=LOSS)
    with pytest.raises(LawError, match="there is no law 'nonsense'; the laws are ") as raised:
        law("nonsense")
    names = str(raised.value).partition("laws are ")[2].split(", ")
    assert set(names) == set(LAWS) and names[3:] == sorted(names[3:])
    with pytest.raises(LawError, match="'bxxxxx'; the laws are b"):
        law("bxxxxx")
    with pytest.raises(LawError, match=r"no law 'chinchila'; did you mean chinchilla\?"):
        law("chinchila")
    with pytest.raises(LawError, match="no parameter gamma; it has E, A, B, α, β"):
        fit(CHINCHILLA, points, fixed={"gamma": 1})
    with pytest.raises(LawError, match="one for each of the 9 points"):
        fit(CHINCHILLA, points, weights=np.ones(8))
    with pytest.raises(LawError, match="not negative"):
        fit(CHINCHILLA, points, weights=np.full(9, -1.0))
    with pytest.raises(LawError, match="no finite objective"):
        fit(CHINCHILLA, points, starts=np.full((2, 5), np.nan))
    with pytest.raises(LawError, match="shape"):
        fit(CHINCHILLA, points, starts=np.ones((2, 4)))
    with pytest.raises(LawError, match="published parameters called 'openai'; it has hoffmann"):
        CHINCHILLA.theta("openai")
    with pytest.raises(LawError, match="needs a value for α and β"):
        CHINCHILLA.theta({"E": 1, "A": 2, "B": 3})


def test_ranks_are_those_of_scipy() -> None:
    values = np.random.default_rng(0).integers(0, 9, 40).astype(float)
    np.testing.assert_array_equal(ranks(values), rankdata(values))


def test_laws_load_no_scipy() -> None:
    """It alone takes longer to import than the rest; what needs it imports it."""
    said = "import sys, danlu.laws; print([name for name in sys.modules if name.startswith('scipy')])"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
