"""BERT's rule: exact counts, and shares within bounds that chance exceeds once in a million runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu import spec
from danlu.objectives import IGNORED
from tests.objectives.fakes import BYTES, example, objective, text


def within(successes: int, trials: int, p: float) -> bool:
    """Whether a share is as expected, to five standard deviations (chance: 6e-7)."""
    return abs(successes - trials * p) <= 5 * math.sqrt(trials * p * (1 - p)) + 1e-9


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.floats(0.01, 0.99), st.integers(0, 1000))
def test_exactly_the_share_is_predicted_and_the_rest_is_as_it_was(
    context: int, rate: float, seed: int
) -> None:
    of = objective(spec.Masked(rate=rate), context)
    inputs, _ = text(3, context, seed)
    made = example(of, 3, seed)
    predicted = made["targets"] != IGNORED
    assert (predicted.sum(axis=1) == max(1, round(rate * context))).all()
    assert np.array_equal(made["targets"][predicted], inputs[predicted])
    assert np.array_equal(made["tokens"][~predicted], inputs[~predicted])


@pytest.mark.parametrize(("mask", "random"), [(0.8, 0.1), (1.0, 0.0), (0.0, 1.0), (0.3, 0.3), (0.0, 0.0)])
def test_shown_as_mask_as_a_random_token_or_as_it_is(mask: float, random: float) -> None:
    of = objective(spec.Masked(mask=mask, random=random), 200)
    assert of.mask_id == BYTES.vocabulary == of.vocabulary - 1
    made = example(of, 400)
    predicted = made["targets"] != IGNORED
    shown, wanted = made["tokens"][predicted], made["targets"][predicted]
    n = 400 * 30
    assert shown.size == n
    # A random token is, once in 257, the one that was there.
    assert within(int((shown == of.mask_id).sum()), n, mask)
    assert within(int((shown == wanted).sum()), n, 1 - mask - random + random / 257)
    others = shown[(shown != of.mask_id) & (shown != wanted)]
    assert within(others.size, n, random * 256 / 257)
    assert others.size == 0 or others.max() <= 256


def test_random_tokens_are_uniform() -> None:
    """χ² of 257 kinds: mean 256, standard deviation √512; chance exceeds 400 once in 10⁷."""
    of = objective(spec.Masked(rate=0.5, mask=0.0, random=1.0), 400)
    made = example(of, 100)
    shown = made["tokens"][made["targets"] != IGNORED]
    counts = np.bincount(shown, minlength=257)
    expected = shown.size / 257
    assert counts.shape == (257,) and ((counts - expected) ** 2 / expected).sum() < 400


def test_every_position_is_as_likely() -> None:
    of = objective(spec.Masked(rate=0.25), 8)
    counts = (example(of, 4000)["targets"] != IGNORED).sum(axis=0)
    assert all(within(int(count), 4000, 0.25) for count in counts)
