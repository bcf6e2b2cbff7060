"""The loss of who knows only how frequent each answer is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from danlu.objectives import IGNORED, Draw, Example, HeldOut, Objective
from danlu.objectives.chance import chance

SHARES = np.array([0.5, 0.25, 0.125, 0.125])


class Drawn(Objective):
    """Answers of known frequencies."""

    count = 8

    def example(self, draw: Draw) -> Example:
        random = np.random.default_rng([draw.seed, draw.start])
        return {"targets": random.choice(4, (draw.stop - draw.start, self.count), p=SHARES)}

    def held_out(self, limit: int | None = None) -> HeldOut:
        def example(places: Sequence[int], rows: int | None = None) -> Example:
            targets = np.tile([0, 0, 0, 0, 1, 1, 2, 3, IGNORED], (len(places), 1))
            return {"targets": targets}

        return HeldOut(700, example)


class Continuous(Drawn):
    def example(self, draw: Draw) -> Example:
        return {"targets": np.zeros((draw.stop - draw.start, 2), np.float32)}


def test_it_is_the_entropy_where_held_out_answers_are_as_frequent() -> None:
    objective = Drawn()
    entropy = -float((SHARES * np.log(SHARES)).sum())
    # 65,536 answers: the frequencies are known to 0.2 %, and the loss is stationary there.
    assert chance(objective, objective.held_out()) == pytest.approx(entropy, abs=1e-3)


def test_answers_that_training_never_saw_are_counted_once() -> None:
    objective = Drawn()
    seen = 8192 * 8
    held_out = HeldOut(1, lambda places, rows=None: {"targets": np.array([[9]])})
    assert chance(objective, held_out) == pytest.approx(math.log(seen + 10))


def test_targets_that_are_no_classes_have_none_which_the_first_piece_says() -> None:
    objective, made = Continuous(), []
    before = objective.example
    objective.example = lambda draw: (made.append(draw), before(draw))[1]  # type: ignore[method-assign]
    assert chance(objective, objective.held_out()) is None and len(made) == 1
