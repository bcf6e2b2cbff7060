"""Wrong tokens by their places: a share, frequencies, and the same for every reader."""

from __future__ import annotations

import numpy as np
from scipy import stats

from danlu.data import Batches, Tokens, prepare
from danlu.data.noise import noised
from danlu.spec import Text


def test_share_and_frequencies() -> None:
    """By a binomial and a chi-squared test, each wrong once in 10⁴."""
    count, share = 200_000, 0.2
    text = np.random.default_rng(0).choice(20, count, p=np.arange(1, 21) / 210)
    rows = np.full((1, count), -1, np.int64)
    noised(rows, np.zeros(1, np.int64), share, text)
    wrong = rows[rows >= 0]
    assert stats.binomtest(len(wrong), count, share).pvalue > 1e-4
    expected = np.bincount(text, minlength=20) / count * len(wrong)
    assert stats.chisquare(np.bincount(wrong, minlength=20), expected).pvalue > 1e-4


def test_the_same_tokens_are_wrong_in_every_epoch_and_for_every_seed(tmp_path) -> None:
    clean = Tokens(tmp_path, 5000, "", np.arange(5000, dtype=np.uint16))
    noisy = Tokens(tmp_path, 5000, "", clean.ids, noise=0.3)
    read: dict[int, int] = {}  # by place
    for seed in (0, 1):
        right, wrong = (Batches(tokens, context=16, seed=seed) for tokens in (clean, noisy))
        for first in range(0, 4 * right.windows, 50):
            places, ids = right.rows(first, 50), wrong.rows(first, 50)
            for place, id in zip(np.stack(places).flat, np.stack(ids).flat, strict=True):
                assert read.setdefault(int(place), int(id)) == id
    assert 0.25 < np.mean([place != id for place, id in read.items()]) < 0.35
    assert (noisy.ids == clean.ids).all()  # what is on the disk stays


def test_text_that_is_held_out_stays_clean() -> None:
    clean, noisy = (prepare(Text(corpus="synthetic:copy-16", noise=noise)) for noise in (0.0, 0.5))
    assert (noisy.train.noise, noisy.held_out.noise) == (0.5, 0.0)
    assert noisy.record == clean.record
    assert (noisy.held_out.ids == clean.held_out.ids).all()
