from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.data import Batches, DataError, Tokens, document_ids, held_out_windows


def stream(length: int) -> Tokens:
    """Tokens each of which is its own position, so that a batch tells where it was cut."""
    return Tokens(Path("some.tokens"), length, "", np.arange(length, dtype=np.uint32))


cases = {
    "length": st.integers(2, 400),
    "context": st.integers(1, 30),
    "batch": st.integers(1, 9),
    "seed": st.integers(-(2**63), 2**63),
}


def make(length, context, batch, seed):
    return Batches(stream(max(length, context + 1)), context=context, batch=batch, seed=seed)


@settings(max_examples=100, deadline=None)
@given(**cases, step=st.integers(0, 10**6))
def test_targets_are_the_inputs_one_token_later(length, context, batch, seed, step):
    inputs, targets = make(length, context, batch, seed).at(step)
    assert inputs.shape == targets.shape == (batch, context)
    assert inputs.dtype == targets.dtype == np.int64
    assert (targets == inputs + 1).all()
    assert (np.diff(inputs, axis=1) == 1).all()


@settings(max_examples=100, deadline=None)
@given(**cases, epoch=st.integers(0, 50))
def test_each_window_comes_once_in_an_epoch(length, context, batch, seed, epoch):
    batches = make(length, context, batch, seed)
    n = batches.windows
    first = epoch * n  # the number of the epoch's first sample
    steps = range(first // batch, (first + n - 1) // batch + 1)
    starts = np.concatenate([batches.at(step)[0][:, 0] for step in steps])
    skip = first - steps[0] * batch
    starts = np.sort(starts[skip : skip + n])
    assert (np.diff(starts) == context).all()  # all different, next to one another
    # No more than one further window would fit before and after them together.
    assert starts[0] + len(batches.tokens) - 1 - (starts[-1] + context) < 2 * context


@settings(max_examples=100, deadline=None)
@given(**cases, steps=st.lists(st.integers(0, 200), min_size=2, max_size=8))
def test_a_batch_depends_on_seed_and_step_alone(length, context, batch, seed, steps):
    one, other = make(length, context, batch, seed), make(length, context, batch, seed)
    seen = {step: one.at(step)[0] for step in steps}
    for step in sorted(steps, reverse=True):
        np.testing.assert_array_equal(other.at(step)[0], seen[step])


@settings(max_examples=100, deadline=None)
@given(**cases, step=st.integers(0, 1000), ranks=st.integers(1, 9))
def test_ranks_partition_the_batch(length, context, batch, seed, step, ranks):
    batches = make(length, context, batch, seed)
    bounds = [batch * rank // ranks for rank in range(ranks + 1)]
    parts = [batches.rows(step, start, stop) for start, stop in pairwise(bounds)]
    for whole, part in zip(batches.at(step), zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(part), whole)


def test_epochs_and_seeds_differ_in_order_and_offset():
    batches = make(10_000, 10, 1, 0)
    n = batches.windows
    epochs = [[int(batches.at(epoch * n + i)[0][0, 0]) for i in range(20)] for epoch in range(3)]
    other = [int(make(10_000, 10, 1, 1).at(i)[0][0, 0]) for i in range(20)]
    assert len({tuple(starts) for starts in [*epochs, other]}) == 4
    assert len({epoch[0] % 10 for epoch in epochs} | {other[0] % 10}) > 1


def test_every_token_is_predicted_in_some_epoch():
    batches = make(57, 10, 5, 3)
    predicted = np.concatenate([batches.at(step)[1].ravel() for step in range(200)])
    assert set(predicted.tolist()) == set(range(1, 57))


def test_too_small_a_corpus_says_so_in_one_sentence():
    with pytest.raises(
        DataError, match=r"some\.tokens holds 10 tokens, too few for a context of 10, which takes 11"
    ):
        Batches(stream(10), context=10, batch=2, seed=0)
    assert Batches(stream(11), context=10, batch=2, seed=0).at(7)[1].tolist() == [list(range(1, 11))] * 2


def test_a_damaged_token_is_named_when_it_is_met():
    tokens = stream(100)
    tokens.ids[30] = 100
    batches = Batches(tokens, context=10, batch=10, seed=0)
    with pytest.raises(DataError, match=r"token 100 at position 30"):
        for step in range(3):
            batches.at(step)
    with pytest.raises(DataError, match=r"token 100 at position 30"):
        list(held_out_windows(tokens, 8))


def test_rows_outside_the_batch_are_a_mistake():
    batches = make(100, 10, 4, 0)
    for start, stop in [(0, 5), (-1, 2), (3, 2)]:
        with pytest.raises(ValueError, match="batch of 4"):
            batches.rows(0, start, stop)
    with pytest.raises(ValueError, match="step -1"):
        batches.at(-1)


@settings(max_examples=100, deadline=None)
@given(length=st.integers(2, 300), context=st.integers(1, 40), limit=st.none() | st.integers(1, 400))
def test_every_held_out_token_is_predicted_once(length, context, limit):
    predicted = []
    windows = list(held_out_windows(stream(length), context, limit))
    for inputs, targets, mask in windows:
        assert inputs.shape == targets.shape == mask.shape == (context,)
        assert inputs.dtype == targets.dtype == np.int64 and mask.dtype == bool
        assert (targets[mask] == inputs[mask] + 1).all()
        predicted += targets[mask].tolist()
    last = length - 1 if limit is None else min(limit, length - 1)
    assert predicted == list(range(1, last + 1))
    assert all(mask.all() for _, _, mask in windows[:-1])


def test_nothing_to_predict_is_an_error():
    with pytest.raises(DataError, match=r"some\.tokens holds 1 tokens"):
        held_out_windows(stream(1), 4)


def test_document_ids_change_at_separators():
    inputs = np.array([[5, 5, 9, 5, 9], [9, 9, 5, 5, 5]])
    assert document_ids(inputs, 9).tolist() == [[0, 0, 1, 1, 2], [1, 2, 2, 2, 2]]
    batches = Batches(stream(20), context=5, batch=2, seed=0, separator=9)
    np.testing.assert_array_equal(batches.document_ids(inputs), document_ids(inputs, 9))
    with pytest.raises(ValueError, match="separator"):
        make(20, 5, 2, 0).document_ids(inputs)
