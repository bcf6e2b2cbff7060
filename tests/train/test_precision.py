"""The loss scale, the norm, and the finding of what is not finite."""

from __future__ import annotations

import math

import pytest
import torch

from danlu.train.precision import GROW_AFTER, LossScale, first_non_finite, total_norm


def test_the_scale_halves_and_doubles() -> None:
    scale = LossScale.of("float16")
    assert scale.state() == {"scale": 65536.0, "good": 0}
    scale.overflowed()
    assert scale.state() == {"scale": 32768.0, "good": 0}
    for _ in range(GROW_AFTER - 1):
        scale.went_well("float16")
    assert scale.scale == 32768.0
    again = LossScale(**scale.state())  # a resume in between
    again.went_well("float16")
    assert again.state() == {"scale": 65536.0, "good": 0}


def test_an_overflow_starts_the_count_again() -> None:
    scale = LossScale(8.0, good=GROW_AFTER - 1)
    scale.overflowed()
    scale.went_well("float16")
    assert scale.state() == {"scale": 4.0, "good": 1}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_other_precisions_have_no_scale(precision: str) -> None:
    scale = LossScale.of(precision)
    for _ in range(GROW_AFTER):
        scale.went_well(precision)
    assert scale.state() == {"scale": 1.0, "good": 0}
    with pytest.raises(FloatingPointError):
        scale.overflowed()


def test_the_norm_is_that_of_one_long_vector() -> None:
    parts = [torch.randn(3, 4), torch.randn(5), torch.randn(())]
    whole = torch.cat([part.flatten() for part in parts])
    assert float(total_norm(parts)) == pytest.approx(float(whole.norm()), rel=1e-6)
    assert math.isnan(float(total_norm([*parts, torch.tensor([math.nan])])))


def test_the_first_that_is_not_finite_is_named_with_its_place() -> None:
    good, bad = torch.ones(2, 3), torch.ones(2, 3)
    bad[1, 0], bad[1, 2] = -math.inf, math.inf
    assert first_non_finite([("a", good)]) is None
    said = first_non_finite([("a", good), ("b.weight", bad), ("c", torch.tensor([math.nan]))])
    assert said == "b.weight is infinite at 2 of 6 places, the first at [1, 0]"
    bad[0, 1] = math.nan
    said = first_non_finite([("b", bad)])
    assert said == "b is NaN at 3 of 6 places, the first at [0, 1]"
    assert first_non_finite([("scalar", torch.tensor(math.nan))]) == (
        "scalar is NaN at 1 of 1 places, the first at []"
    )
