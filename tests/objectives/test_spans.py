"""T5's rule: the text comes back from what is seen and written; spans as random_spans_noise_mask has them."""

from __future__ import annotations

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu import spec
from danlu.objectives import training_keys
from danlu.objectives.spans import random_lengths, span_counts
from tests.objectives.fakes import BYTES, example, objective, text


def put_back(seen: list[int], written: list[int]) -> list[int]:
    """The text, read from the two by the rule alone: a sentinel stands for what is written after it."""
    spans: dict[int, list[int]] = {}
    for token in written:
        if token >= BYTES.vocabulary:
            spans[token] = current = []
        else:
            current.append(token)
    assert spans.pop(max(spans)) == []  # the last sentinel, which the encoder never sees
    found = [t for token in seen for t in (spans.pop(token) if token >= BYTES.vocabulary else [token])]
    assert not spans
    return found


@settings(max_examples=150, deadline=None)
@given(st.integers(2, 200), st.floats(0.01, 0.99), st.floats(0.2, 20), st.integers(0, 1000))
def test_the_text_comes_back(context: int, rate: float, mean: float, seed: int) -> None:
    of = objective(spec.Spans(rate=rate, mean=mean), context)
    inputs, _ = text(2, context, seed)
    made = example(of, 2, seed)
    for row in range(2):
        seen, written = made["encoder_tokens"][row].tolist(), made["targets"][row].tolist()
        assert put_back(seen, written) == inputs[row].tolist()
        assert made["tokens"][row].tolist() == [BYTES.separator, *written[:-1]]
        shown = [token for token in seen if token >= BYTES.vocabulary]
        assert shown == list(range(of.first_sentinel, of.first_sentinel + of.spans))  # ascending
        assert [token for token in written if token >= BYTES.vocabulary] == [*shown, of.vocabulary - 1]
        assert seen[0] < BYTES.vocabulary  # a row begins with what is kept
        assert seen[-1] >= BYTES.vocabulary  # and ends with a span


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 300), st.floats(0.01, 0.99), st.floats(0.2, 20))
def test_lengths_follow_from_the_context(context: int, rate: float, mean: float) -> None:
    of = objective(spec.Spans(rate=rate, mean=mean), context)
    noise, spans = span_counts(context, rate, mean)
    assert (of.noise, of.spans) == (noise, spans)
    assert of.lengths == (noise + spans + 1, context - noise + spans)
    assert of.count == noise + spans + 1 and of.extra_ids == spans + 1
    assert 1 <= spans <= noise <= context - spans


def test_the_counts_of_t5() -> None:
    """Raffel et al., section 3.1.4, fill an encoder of 512 with 568 tokens, and the decoder writes 114; both
    of their texts have a last token, the end of the text, as ours have a last sentinel (the decoder's)."""
    of = objective(spec.Spans(rate=0.15, mean=3.0), 568)
    assert (of.lengths[1] + 1, of.lengths[0]) == (512, 114)


@pytest.mark.parametrize(("total", "parts"), [(1, 1), (5, 1), (5, 5), (6, 3), (7, 2)])
def test_lengths_are_uniform_over_all_that_there_are(total: int, parts: int) -> None:
    """Against a list of every composition: each within five standard deviations of its share."""
    every = [found for found in product(range(1, total + 1), repeat=parts) if sum(found) == total]
    assert len(every) == math.comb(total - 1, parts - 1)
    draw, n = np.random.default_rng(0), 4000
    counts = Counter(tuple(random_lengths(total, parts, draw).tolist()) for _ in range(n))
    assert set(counts) == set(every)
    p = 1 / len(every)
    assert all(abs(count - n * p) <= 5 * math.sqrt(n * p * (1 - p)) for count in counts.values())


def published_mask(length: int, rate: float, mean: float, draw: np.random.Generator) -> list[bool]:
    """The steps of random_spans_noise_mask as its docstrings tell them: shuffled marks of where a segment
    begins, for what is left out and what is kept, and the two in turn, beginning with what is kept."""
    noise = min(max(round(length * rate), 1), length - 1)
    spans = max(round(noise / mean), 1)

    def segments(total: int) -> list[int]:
        marks = [True] * (spans - 1) + [False] * (total - spans)
        draw.shuffle(marks)
        sizes = [1]
        for begins in marks:
            if begins:
                sizes.append(1)
            else:
                sizes[-1] += 1
        return sizes

    out, kept = segments(noise), segments(length - noise)
    return [left for a, b in zip(kept, out, strict=True) for left in [False] * a + [True] * b]


def test_masks_are_drawn_as_published() -> None:
    """Of 9 tokens 4 in 2 spans: 3 · 4 = 12 masks, each as often here as by the published steps."""
    described = spec.Spans(rate=0.44, mean=2.0)
    of, n = objective(described, 9), 6000
    inputs = np.repeat(np.arange(9)[None], n, axis=0)
    made = of.make(inputs, inputs, training_keys(0, 0, 0, n))["encoder_tokens"]
    ours = Counter(tuple(i not in row for i in range(9)) for row in made.tolist())
    draw = np.random.default_rng(1)
    theirs = Counter(tuple(published_mask(9, 0.44, 2.0, draw)) for _ in range(n))
    assert len(ours) == 12 and set(ours) == set(theirs)
    bound = 5 * math.sqrt(2 * n / 12)
    assert all(abs(ours[mask] - theirs[mask]) <= bound for mask in ours)


def test_the_example_of_the_paper() -> None:
    """Figure 2: "Thank you for inviting me to your party last week", its spans "for inviting" and "last"
    (not at the end there, so without the last word here)."""
    words = ["thank", "you", "for", "inviting", "me", "to", "your", "party", "last"]
    of = objective(spec.Spans(rate=0.3, mean=1.5), len(words))
    inputs = np.arange(len(words))[None]
    names = [*words, *[""] * (BYTES.vocabulary - len(words)), *(f"<{i}>" for i in range(3))]
    found = set()
    for step in range(200):
        made = of.make(inputs, inputs, training_keys(0, step, 0, 1))
        found.add(tuple(" ".join(names[i] for i in made[part][0]) for part in ("encoder_tokens", "targets")))
    assert ("thank you <0> me to your party <1>", "<0> for inviting <1> last <2>") in found
    assert len(found) == math.comb(2, 1) * math.comb(5, 1)


def test_a_single_token_cannot_be_corrupted() -> None:
    with pytest.raises(ValueError, match="a text of 1 token cannot be both left out and kept"):
        objective(spec.Spans(), 1)
