from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.data import Batches, DataError, Tokens, document_ids, held_out_windows


def stream(length: int, limit: int | None = None) -> Tokens:
    """Tokens each of which is its own position, so that a batch tells where it was cut."""
    return Tokens(Path("some.tokens"), length, "", np.arange(length, dtype=np.uint32), limit)


cases = {
    "length": st.integers(2, 400),
    "context": st.integers(1, 30),
    "seed": st.integers(-(2**63), 2**63),
}


def make(length, context, seed):
    return Batches(stream(max(length, context + 1)), context=context, seed=seed)


counts = st.integers(1, 9)


@settings(max_examples=100, deadline=None)
@given(**cases, first=st.integers(0, 10**6), count=counts)
def test_targets_are_the_inputs_one_token_later(length, context, seed, first, count):
    inputs, targets = make(length, context, seed).rows(first, count)
    assert inputs.shape == targets.shape == (count, context)
    assert inputs.dtype == targets.dtype == np.int64
    assert (targets == inputs + 1).all()
    assert (np.diff(inputs, axis=1) == 1).all()


@settings(max_examples=100, deadline=None)
@given(**cases, epoch=st.integers(0, 50))
def test_each_window_comes_once_in_an_epoch(length, context, seed, epoch):
    batches = make(length, context, seed)
    n = batches.windows
    starts = np.sort(batches.rows(epoch * n, n)[0][:, 0])
    assert (np.diff(starts) == context).all()  # all different, next to one another
    # No more than one further window would fit before and after them together.
    assert starts[0] + len(batches.tokens) - 1 - (starts[-1] + context) < 2 * context
    assert batches.epoch(epoch * n) == epoch


@settings(max_examples=100, deadline=None)
@given(**cases, firsts=st.lists(st.integers(0, 2000), min_size=2, max_size=8), count=counts)
def test_a_sample_depends_on_seed_and_number_alone(length, context, seed, firsts, count):
    one, other = make(length, context, seed), make(length, context, seed)
    seen = {first: one.rows(first, count)[0] for first in firsts}
    for first in sorted(firsts, reverse=True):
        np.testing.assert_array_equal(other.rows(first, count)[0], seen[first])


@settings(max_examples=100, deadline=None)
@given(**cases, first=st.integers(0, 1000), sizes=st.lists(counts, min_size=1, max_size=8))
def test_however_samples_are_batched_their_order_is_the_same(length, context, seed, first, sizes):
    """Batches of different sizes, and the parts of a batch that fall to several processes."""
    batches = make(length, context, seed)
    begins = np.cumsum([first, *sizes]).tolist()
    parts = [batches.rows(begin, size) for begin, size in zip(begins, sizes, strict=False)]
    whole = batches.rows(first, sum(sizes))
    for together, part in zip(whole, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(part), together)


def limited(length, context, seed, limit):
    return Batches(stream(max(length, context + 1), max(limit, context)), context=context, seed=seed)


@settings(max_examples=100, deadline=None)
@given(**cases, limit=st.integers(1, 500), count=counts)
def test_up_to_its_limit_the_samples_are_those_without_one(length, context, seed, limit, count):
    few, all_ = limited(length, context, seed, limit), make(length, context, seed)
    assert few.windows * context <= max(limit, context)
    first = max(0, few.windows - count)
    for one, other in zip(
        few.rows(first, few.windows - first), all_.rows(first, few.windows - first), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=100, deadline=None)
@given(**cases, limit=st.integers(1, 500), epoch=st.integers(1, 50))
def test_beyond_its_limit_the_same_samples_come_again(length, context, seed, limit, epoch):
    batches = limited(length, context, seed, limit)
    n = batches.windows
    again, first = batches.starts(epoch * n, n), batches.starts(0, n)
    if n < make(length, context, seed).windows:
        np.testing.assert_array_equal(np.sort(again), np.sort(first))
    else:  # the limit is none
        np.testing.assert_array_equal(again, make(length, context, seed).starts(epoch * n, n))
    assert batches.epoch(epoch * n) == epoch


def test_repeated_samples_come_in_another_order_and_in_batches_of_any_size():
    batches = Batches(stream(10_000, limit=205), context=10, seed=0)
    epochs = [batches.starts(20 * epoch, 20).tolist() for epoch in range(4)]
    assert len({tuple(starts) for starts in epochs}) == 4
    assert batches.starts(0, 80).tolist() == [start for epoch in epochs for start in epoch]


def test_epochs_and_seeds_differ_in_order_and_offset():
    batches = make(10_000, 10, 0)
    n = batches.windows
    epochs = [batches.rows(epoch * n, 20)[0][:, 0].tolist() for epoch in range(3)]
    other = make(10_000, 10, 1).rows(0, 20)[0][:, 0].tolist()
    assert len({tuple(starts) for starts in [*epochs, other]}) == 4
    assert len({epoch[0] % 10 for epoch in epochs} | {other[0] % 10}) > 1


def test_every_token_is_predicted_in_some_epoch():
    predicted = make(57, 10, 3).rows(0, 1000)[1]
    assert set(predicted.ravel().tolist()) == set(range(1, 57))


def test_too_small_a_corpus_says_so_in_one_sentence():
    with pytest.raises(
        DataError, match=r"some\.tokens holds 10 tokens, too few for a context of 10, which takes 11"
    ):
        Batches(stream(10), context=10, seed=0)
    assert Batches(stream(11), context=10, seed=0).rows(7, 2)[1].tolist() == [list(range(1, 11))] * 2


def test_a_damaged_token_is_named_when_it_is_met():
    tokens = stream(100)
    tokens.ids[30] = 100
    batches = Batches(tokens, context=10, seed=0)
    with pytest.raises(DataError, match=r"token 100 at position 30"):
        batches.rows(0, 30)
    with pytest.raises(DataError, match=r"token 100 at position 30"):
        list(held_out_windows(tokens, 8))


def test_there_are_no_samples_before_the_first():
    with pytest.raises(ValueError, match="first -1 and count 2 must not be negative"):
        make(100, 10, 0).rows(-1, 2)


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
    batches = Batches(stream(20), context=5, seed=0, separator=9)
    np.testing.assert_array_equal(batches.document_ids(inputs), document_ids(inputs, 9))
    with pytest.raises(ValueError, match="separator"):
        make(20, 5, 0).document_ids(inputs)
