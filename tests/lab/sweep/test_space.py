"""The space: what it holds, what is drawn from it, and which experiments its points are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.lab.errors import LabError
from danlu.lab.grids import dimension, number
from danlu.lab.sweep.space import Space, draw, plain, said
from danlu.spec import SpecError, resolve


def test_the_grid_in_order_and_the_experiment_of_a_point() -> None:
    space = Space.read(["nano", "optimizer.lr=1e-3,1e-2", "+glu|", "train.steps=10"])
    assert space.names == ["optimizer.lr", "+glu|"] and space.fixed == ["nano", "train.steps=10"]
    grid = space.grid()
    assert [said(point) for point in grid] == [
        "optimizer.lr=1e-3 +glu", "optimizer.lr=1e-3", "optimizer.lr=0.01 +glu", "optimizer.lr=0.01"
    ]  # fmt: skip
    assert plain(grid[1]) == {"optimizer.lr": 1e-3, "+glu|": ""}
    assert space.experiment(grid[0]) == resolve("nano optimizer.lr=1e-3 +glu train.steps=10")
    assert space.experiment(grid[1], steps=3) == resolve("nano optimizer.lr=1e-3 train.steps=3")


def test_fields_get_their_full_names() -> None:
    space = Space.read(
        ["nano", "lr=1e-3..1e-1", "steps=10", "optimizer=lion|adamw", "beta1=0.9,0.95", "+glu|"]
    )
    assert space.names == ["optimizer.lr", "optimizer", "optimizer.beta1", "+glu|"]
    assert space.fixed == ["nano", "train.steps=10"]
    with pytest.raises(LabError, match=r"optimizer.lr spans two dimensions"):
        Space.read(["nano", "lr=1,2", "optimizer.lr=3,4"])
    with pytest.raises(SpecError, match=r"eps may be model.norm.eps or optimizer.eps"):
        Space.read(["nano", "eps=1e-8,1e-6"])


def test_runs_of_a_study_are_not_compiled_unless_that_is_said() -> None:
    space = Space.read(["tiny", "train.steps=9", "optimizer.lr=1e-3,1e-2"])
    assert space.experiment(space.grid()[0]).train.compile is False
    said_so = Space.read(["tiny", "train.steps=9", "train.compile=false,true"])
    assert [said_so.experiment(point).train.compile for point in said_so.grid()] == [False, True]


@given(st.integers(0, 10**9), st.floats(1e-9, 1e3), st.floats(1.0001, 1e9))
def test_a_draw_lies_in_its_range(i: int, low: float, ratio: float) -> None:
    found = dimension(f"x={low!r}..{low * ratio!r}")
    assert found is not None and found.span is not None
    value = number(draw(found, i))
    assert value is not None and found.span[0] <= value <= found.span[1]


def test_draws_are_uniform_in_the_logarithm() -> None:
    found = dimension("x=1e-4..1e0")
    assert found is not None
    shares = sorted((math.log10(float(draw(found, i))) + 4) / 4 for i in range(2000))
    # Kolmogorov and Smirnov: a uniform sample of n exceeds 1.95/√n with probability 0.001.
    farthest = max(abs(share - (i + 0.5) / 2000) for i, share in enumerate(shares))
    assert farthest < 1.95 / math.sqrt(2000)


def test_a_longer_search_begins_with_the_shorter_and_no_point_comes_twice() -> None:
    space = Space.read(["lr=1e-4..1e-1", "layers=2..4", "+glu|"])
    assert space.drawn(30)[:12] == space.drawn(12)
    assert len({said(point) for point in space.drawn(30)}) == 30


@pytest.mark.parametrize(
    ("words", "size"), [(["a=1,2", "b=x|y|z"], 6), (["a=2..5"], 4), (["a=1.00001..1.00002"], 1)]
)
def test_what_is_exhausted_gives_all_it_has(words: list[str], size: int) -> None:
    assert len(Space.read(words).drawn(100)) == size


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["nano"], "no word spans a space"),
        ([], "no word spans a space"),
        (["nano", "optimizer.lr=1e-3,1e-2", "optimizer.lr=1..2/1"], "two dimensions"),
    ],
)
def test_what_spans_nothing_or_one_field_twice(words: list[str], wanted: str) -> None:
    with pytest.raises(LabError, match=wanted):
        Space.read(words)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("tiny optimizer.lr=1e-3,1e-2", "train.seconds = 50.*train.steps"),
        ("nano model.width=64,65", "at model.width=65: .*does not divide"),
        ("nano optimizer.lrr=1,2", "did you mean optimizer.lr"),
        ("nano +glu|swiglu", r"did you mean \+swiglu"),
    ],
)
def test_a_point_that_is_no_experiment_is_named(words: str, wanted: str) -> None:
    space = Space.read(words.split())
    with pytest.raises(LabError, match=wanted):
        for point in space.grid():
            space.experiment(point)
