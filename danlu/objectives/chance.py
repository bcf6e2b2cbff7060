"""What is lost by who knows only how frequent each answer is: a text's unigram, the shares of classes."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from danlu.objectives.base import Draw, Example, HeldOut, Objective
from danlu.objectives.language import IGNORED

ROWS, AT_ONCE = 8192, 512  # examples that are counted, and so many in one piece
TERMS = 1 << 20  # answers that are enough


def chance(objective: Objective, held_out: HeldOut) -> float | None:
    """Nats of a held-out answer by the frequencies of answers in training, each counted once more than it
    was seen; None where examples hold no answers as int ``targets``.

    A network that is not well below it has not begun to learn from what surrounds an answer."""
    rows, count = min(ROWS, max(AT_ONCE, TERMS // objective.count)), min(held_out.count, ROWS)
    training = _answers(
        objective.example(Draw(0, 0, 0, start, start + AT_ONCE)) for start in range(0, rows, AT_ONCE)
    )
    if training is None:
        return None
    answers = _answers(
        held_out.example(range(start, min(start + AT_ONCE, count)), None)
        for start in range(0, count, AT_ONCE)
    )
    if answers is None or not len(training) or not len(answers):
        return None
    kinds = 1 + int(max(training.max(), answers.max()))
    often = np.bincount(training, minlength=kinds) + 1
    return math.log(often.sum()) - float(np.log(often)[answers].mean())


def _answers(examples: Iterable[Example]) -> NDArray[np.int64] | None:
    """Those of all examples; None at the first that holds none, so that no more of them are made."""
    found = []
    for example in examples:
        targets = example.get("targets")
        if not isinstance(targets, np.ndarray) or targets.dtype.kind not in "iu":
            return None
        found.append(targets[targets != IGNORED])
    return np.concatenate(found) if found else None
