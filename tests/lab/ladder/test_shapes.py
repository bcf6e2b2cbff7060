"""Shapes at other sizes: the recipe's own parts, counted exactly."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.lab.ladder.shapes import ASPECT, resized
from danlu.spec import resolve
from tests.lab.ladder import worlds

RECIPES = [
    "nano",
    "tiny",
    "gpt2-124m",
    "llama2-70b",
    "palm-8b",
    "opt-350m",
    "t5-small",
    "bert-base",
    "gpt3-125m",
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_at_its_own_size_is_itself(recipe: str) -> None:
    model = resolve([recipe]).model
    assert resized(model, model.layers, model.width) == model


@pytest.mark.parametrize("recipe", ["nano", "tiny", "gpt2-124m", "llama2-70b"])
def test_heads_keep_their_size_and_their_groups(recipe: str) -> None:
    model = resolve([recipe]).model
    for times in (2, 3):
        larger = resized(model, times * model.layers, times * model.width)
        assert larger.mixer.heads == times * model.mixer.heads
        if model.mixer.kv_heads:
            assert larger.mixer.kv_heads == times * model.mixer.kv_heads


@pytest.mark.parametrize("idea", ["", "+swiglu", "+lru", "+mla", "+alternating-windows"])
def test_parameters_and_flops_are_those_of_the_built_model(idea: str) -> None:
    shapes = worlds.shapes(*[idea] * bool(idea))
    for wanted in (5e4, 2e5):
        sized = shapes.of_size(wanted)
        model, context = sized.experiment.model, sized.experiment.data.context
        assert (sized.parameters, sized.flops) == worlds.counted(model, context)


@settings(max_examples=20, deadline=None)
@given(st.floats(math.log(4e4), math.log(2e7)))
def test_the_nearest_is_near_and_of_the_shape(log_wanted: float) -> None:
    shapes = worlds.shapes()
    sized = shapes.of_size(math.exp(log_wanted))
    assert abs(math.log(sized.parameters) - log_wanted) < math.log(1.5)
    aspect = sized.width / sized.layers / (shapes.recipe.width / shapes.recipe.layers)
    assert 1 / ASPECT <= aspect <= ASPECT
