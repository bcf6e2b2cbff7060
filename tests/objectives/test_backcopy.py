"""Bigram-Backcopy: rows by the rule, the table of pairs, and the exact optimum."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from danlu import spec
from danlu.data import DataError, Dataset
from danlu.data.tokens import Tokens
from danlu.objectives import BigramBackcopy, Draw
from danlu.objectives.backcopy import count_pairs
from tests.objectives.fakes import tensors

T, IDS, BOS, TRIGGERS = 24, 8, 8, 2


def made(seed: int = 0, **fields: Any) -> BigramBackcopy:
    """On a text of 8 tokens whose pairs are uneven."""
    weights = np.random.default_rng(seed).dirichlet(np.ones(IDS))
    ids = np.random.default_rng(seed + 1).choice(IDS, 20_000, p=weights)
    tokenizer: Any = SimpleNamespace(
        vocabulary=IDS + 1, separator=BOS, token_bytes=np.ones(IDS + 1, np.int32)
    )
    data = Dataset.outline(spec.Text(context=T), tokenizer)
    object.__setattr__(data, "train", Tokens(data.folder, IDS + 1, "", ids.astype(np.uint16)))
    return BigramBackcopy(data, **{"triggers": TRIGGERS, "characters": IDS, **fields})


def test_the_table_is_the_counts_of_a_small_text() -> None:
    text = np.array([3, 0, 1, 0, 1, 0, 2, 3, 9])
    pairs = count_pairs(text, 3, 1, without=3)
    assert pairs.ids.tolist() == [0, 1, 2]
    assert pairs.first.tolist() == [0, 2 / 3, 1 / 3]
    # After 2 comes only the separator, which does not count: any token may come, by frequency.
    wanted = [[0, 2 / 3, 1 / 3], [1, 0, 0], [3 / 6, 2 / 6, 1 / 6]]
    np.testing.assert_allclose(pairs.follows, wanted, rtol=1e-15)
    assert count_pairs(text, 64, 1, without=3).ids.tolist() == [0, 1, 2, 9]
    with pytest.raises(DataError, match=r"objective\.triggers = 4, and the training text has 4 different"):
        count_pairs(text, 64, 4, without=3)


def test_rows_follow_the_rule() -> None:
    of = made()
    rows = of.example(Draw(0, 3, 0, 0, 400))
    tokens, targets = rows["tokens"], rows["targets"]
    assert (tokens[:, 0] == BOS).all() and (tokens[:, 1:] == targets[:, :-1]).all()
    trigger = np.isin(tokens, of.pairs.ids[:TRIGGERS])
    assert not trigger[:, :2].any() and not (trigger[:, 1:] & trigger[:, :-1]).any()
    row, place = np.nonzero(trigger)
    assert len(row) > 1000 and (targets[row, place] == tokens[row, place - 1]).all()


def test_what_is_drawn_has_the_frequencies_of_the_table() -> None:
    """Within five standard deviations of every pair."""
    of = made()
    rows = of.example(Draw(0, 0, 0, 0, 4000))
    free = ~np.isin(rows["tokens"], [*of.pairs.ids[:TRIGGERS], BOS])
    before, after = (np.argsort(of.pairs.ids)[rows[name][free]] for name in ("tokens", "targets"))
    for i in range(TRIGGERS, IDS):
        found = np.bincount(after[before == i], minlength=IDS)
        count, p = found.sum(), of.pairs.follows[i]
        assert (np.abs(found - count * p) <= 5 * np.sqrt(count * p * (1 - p)) + 1e-9).all()


class Best(torch.nn.Module):
    """The best model: the table's row, or the copy."""

    def __init__(self, of: BigramBackcopy) -> None:
        super().__init__()
        self.of = of

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        ids, first, follows = self.of.pairs
        p = torch.zeros(*tokens.shape, IDS + 1, dtype=torch.float64)
        for row, place in np.ndindex(*tokens.shape):
            last = int(tokens[row, place])
            if last in ids[:TRIGGERS]:
                p[row, place, tokens[row, place - 1]] = 1
            elif last == BOS:
                p[row, place, ids] = torch.from_numpy(first)
            else:
                p[row, place, ids] = torch.from_numpy(follows[int(np.argsort(ids)[last])])
        return p.log().clamp(min=-1e4)


def test_the_best_model_has_no_excess_and_its_loss_is_the_entropy() -> None:
    of = made()
    held_out = of.held_out(200 * T)
    sums = of.score(Best(of).eval(), tensors(held_out.example(range(held_out.count), None)))
    found = of.measure({name: float(value) for name, value in sums.items()})
    assert found["trigger_loss"] == 0
    assert found["excess_loss"] == pytest.approx(0, abs=1e-6) == found["bigram_excess"]
    # Of the tokens drawn, the mean −ln p is the entropy of their rows, within five standard deviations.
    rows = held_out.example(range(held_out.count), None)
    entropy = -(of.pairs.follows * np.log(np.maximum(of.pairs.follows, 1e-300))).sum(1)
    start = -(of.pairs.first * np.log(np.maximum(of.pairs.first, 1e-300))).sum()
    codes = np.argsort(of.pairs.ids)[np.minimum(rows["tokens"], IDS - 1)]
    each = np.where(rows["tokens"] == BOS, start, np.where(codes < TRIGGERS, 0, entropy[codes]))
    assert found["held_out_loss"] == pytest.approx(each.mean(), abs=5 * 1.0 / math.sqrt(each.size))


def test_a_part_of_the_rows_is_that_part_and_padding_counts_for_nothing() -> None:
    of = made()
    whole, part = of.example(Draw(1, 2, 0, 0, 6))["tokens"], of.example(Draw(1, 2, 0, 4, 6))["tokens"]
    assert (whole[4:] == part).all()
    held_out = of.held_out(10 * T)
    one, more = held_out.example([7], None), held_out.example([7], 5)
    assert (more["tokens"][0] == one["tokens"][0]).all()
    best = Best(of).eval()
    nothing = of.score(best, tensors(held_out.example([], None)))  # of a process that has no part
    assert not any(float(value) for value in nothing.values())
    first, second = (of.score(best, tensors(e)) for e in (one, more))
    assert {k: float(v) for k, v in first.items()} == pytest.approx({k: float(v) for k, v in second.items()})


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"triggers = 8 leave no other of characters = 8"):
        spec.BigramBackcopy(triggers=8, characters=8)
    with pytest.raises(spec.SpecError, match="rows are one document each"):
        spec.resolve(["bigram-backcopy", "data.documents=separate"])
