from itertools import chain

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from danlu.data import DataError
from danlu.data.sources import Document
from danlu.data.split import EMPTY, HELD_OUT, TRAIN, split_documents


def documents(texts):
    return lambda: [Document(f"document {i}", [text[:3], text[3:]]) for i, text in enumerate(texts)]


def both_sides(texts, share=0.1):
    split = split_documents(documents(texts), share, "corpus")
    return [
        ["".join(pieces) for pieces in split.take(documents(texts)(), side)] for side in (TRAIN, HELD_OUT)
    ]


texts = st.lists(st.text(st.characters(codec="utf-8"), max_size=12), min_size=2, max_size=30)
shares = st.floats(0.01, 0.9)


@settings(max_examples=200, deadline=None)
@given(texts=texts, share=shares, order=st.randoms(use_true_random=False))
def test_sides_are_whole_documents_and_do_not_depend_on_order(texts, share, order):
    assume(len(set(texts) - {""}) > 1)
    train, held_out = both_sides(texts, share)
    assert sorted(train + held_out) == sorted(text for text in texts if text)
    assert train and held_out
    assert not set(train) & set(held_out)
    shuffled = list(texts)
    order.shuffle(shuffled)
    other_train, other_held_out = both_sides(shuffled, share)
    assert sorted(other_train) == sorted(train) and sorted(other_held_out) == sorted(held_out)


@settings(max_examples=50, deadline=None)
@given(share=st.floats(0.01, 0.9), size=st.integers(200, 400))
def test_many_small_documents_meet_the_share(share, size):
    train, held_out = both_sides([f"document {i:04}" for i in range(size)], share)
    assert share <= len(held_out) / size < share + 1 / size + 1e-9
    assert train


def test_one_large_document_is_not_held_out_for_a_small_share():
    rng = np.random.default_rng(0)
    for _ in range(20):
        small = [f"{n} is a number" for n in rng.integers(10**9, size=40)]
        train, held_out = both_sides([*small, "large " * 1000])
        assert "large " * 1000 in train
        assert held_out


def test_of_few_large_documents_the_smallest_is_held_out():
    train, held_out = both_sides(["a" * 100, "b" * 90, "c" * 110])
    assert held_out == ["b" * 90]
    assert len(train) == 2


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(st.characters(codec="utf-8") | st.just("\n"), min_size=12, max_size=200),
    share=st.floats(0.05, 0.5),
    copies=st.integers(1, 3),
)
def test_a_single_document_is_cut_once_about_its_last_share(text, share, copies):
    train, held_out = both_sides([text] * copies, share)
    assert len(set(train)) == len(set(held_out)) == 1 and len(train) == len(held_out) == copies
    assert train[0] + held_out[0] == text
    size, held = len(text.encode()), len(held_out[0].encode())
    assert round(share * size) <= held <= 2 * max(1, round(share * size)) + 4


def test_a_single_document_is_cut_at_a_line_end():
    text = "".join(f"line {i}\n" for i in range(1000))
    train, held_out = both_sides([text])
    assert train[0].endswith("\n") and held_out[0].startswith("line 9")


def test_empty_documents_are_counted_and_on_no_side():
    texts = ["", "one", "", "two"]
    split = split_documents(documents(texts), 0.5, "corpus")
    assert split.empty == 2 and (split.sides == EMPTY).tolist() == [True, False, True, False]
    assert sorted(chain(*both_sides(texts, 0.5))) == ["one", "two"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "corpus is empty"),
        ([""], "corpus is empty"),
        (["", ""], "corpus: all 2 documents are empty"),
        (["", "x"], r"document 1 is too short \(1 bytes\)"),
        (["丹"], r"document 0 is too short \(3 bytes\)"),
    ],
)
def test_too_little_text_is_an_error(texts, message):
    with pytest.raises(DataError, match=message):
        split_documents(documents(texts), 0.1, "corpus")


def test_a_corpus_that_changes_between_readings_is_an_error():
    split = split_documents(documents(["a", "b", "c"]), 0.1, "corpus")
    for now in (["a", "b"], ["a", "b", "c", "d"]):
        with pytest.raises(DataError, match="changed while it was read: it had 3 documents"):
            list(split.take(documents(now)(), TRAIN))
