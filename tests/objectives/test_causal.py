"""Causal and prefix: which targets count, and what the rest may be."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu import spec
from danlu.objectives import IGNORED, training_keys
from tests.objectives.fakes import Table, objective, tensors, text


def test_every_next_token_is_predicted() -> None:
    inputs, targets = text(2, 9)
    made = objective(spec.Causal(), 9).make(inputs, targets, training_keys(0, 0, 0, 2))
    assert set(made) == {"tokens", "targets"}
    assert np.array_equal(made["tokens"], inputs) and np.array_equal(made["targets"], targets)


def test_padding_is_not_predicted() -> None:
    inputs, targets = text(2, 9)
    mask = np.arange(9) < np.array([[9], [4]])
    for described, shown in [(spec.Causal(), 0), (spec.Prefix(length=3), 2)]:
        made = objective(described, 9).make(inputs, targets, training_keys(0, 0, 0, 2), mask)["targets"]
        counted = mask & (np.arange(9) >= shown)
        assert np.array_equal(made != IGNORED, counted)
        assert np.array_equal(made[counted], targets[counted])


def test_a_prefix_of_one_token_is_causal() -> None:
    """One token sees itself, and the first to be predicted is the second either way."""
    inputs, targets = text(2, 9)
    keys = training_keys(0, 0, 0, 2)
    causal, prefix = objective(spec.Causal(), 9), objective(spec.Prefix(length=1), 9)
    one, other = (of.make(inputs, targets, keys) for of in (causal, prefix))
    assert one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
    assert (causal.count, causal.scope) == (9, {}) and (prefix.count, prefix.scope) == (9, {"prefix": 1})


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 20), st.data())
def test_targets_within_the_prefix_change_nothing(context: int, data: st.DataObject) -> None:
    """The tokens of the prefix are seen, so they are not predicted; the first one after them is."""
    length = data.draw(st.integers(1, context - 1))
    of = objective(spec.Prefix(length=length), context)
    assert of.count == context - length + 1
    inputs, targets = text(2, context)
    other = targets.copy()
    other[:, : length - 1] = 255 - other[:, : length - 1]
    model = Table(2, context, of.vocabulary)

    def nats(wanted: np.ndarray) -> torch.Tensor:
        return of.loss(model, tensors(of.make(inputs, wanted, training_keys(0, 0, 0, 2)))).total

    assert nats(targets) == nats(other)
    assert model.came["prefix"] == length
    other[:, length - 1] = 255 - other[:, length - 1]
    assert nats(targets) != nats(other)
