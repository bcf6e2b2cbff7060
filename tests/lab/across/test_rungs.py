"""Sizes at equal tokens a parameter."""

from __future__ import annotations

import math

import pytest

from danlu.lab.across.rungs import GROWTH, rungs
from danlu.lab.budget import flops
from danlu.lab.errors import LabError
from danlu.spec import Attention
from danlu.spec.words import resolve

SMALL = "nano model.width=32 model.mixer.heads=2 data.context=32 train.steps=100 schedule.warmup=0.02"


def test_rungs_grow_in_compute_at_equal_tokens_a_parameter() -> None:
    first, *others = rungs(resolve(SMALL), 4)
    assert first.baseline == resolve(SMALL)
    ratio = first.tokens / first.parameters
    for level, rung in enumerate(others, start=1):
        update = rung.baseline.train.batch * rung.baseline.data.size
        assert abs(rung.tokens - ratio * rung.parameters) <= update / 2
        # A head is half of the first width, so that widths are coarse.
        assert abs(math.log(rung.flops / first.flops / GROWTH**level)) < math.log(2)
        assert rung.flops == flops(rung.baseline)
        model = rung.baseline.model
        assert isinstance(model.mixer, Attention) and model.width / model.mixer.heads == 16
        assert model.layers == first.baseline.model.layers
    assert first.flops < others[0].flops < others[1].flops < others[2].flops


def test_an_idea_is_laid_over_the_network_of_the_rung() -> None:
    rung = rungs(resolve(SMALL), 3)[-1]
    variant = rung.variant(["+swiglu", "optimizer.lr=1e-4"])
    assert variant.model.width == rung.baseline.model.width
    assert variant.model.feed_forward.kind == "glu" and variant.optimizer.lr == 1e-4
    assert variant.train == rung.baseline.train


@pytest.mark.parametrize(
    ("words", "count", "said"),
    [
        ("tiny", 4, "planned in tokens"),
        ("digits", 4, "no text"),
        (SMALL, 1, "--rungs = 1; allowed: 2 to 8"),
    ],
)
def test_what_cannot_be_made_larger_is_refused(words: str, count: int, said: str) -> None:
    with pytest.raises(LabError, match=said):
        rungs(resolve(words), count)
