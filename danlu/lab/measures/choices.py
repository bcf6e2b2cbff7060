"""The answers of a synthetic corpus as multiple choice: the right one among three that are nearly right.

In each row of held-out text the last answer that lies wholly in it is asked for. Wrong answers are as long:
the first symbol of the right one, its last, or both are replaced by the next of their kind (1 after 9 and 0).
An option's score is its log-likelihood to the end of the line, as in the usual benchmarks.
"""

from __future__ import annotations

import string

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from danlu.lab.measures.text import answers, marks_of, no_line
from danlu.lab.measures.trained import Trained
from danlu.objectives import IGNORED, Example

_LETTERS = string.ascii_lowercase
_NEXT = str.maketrans(string.digits + _LETTERS, "1234567891" + _LETTERS[1:] + _LETTERS[0])


def choice_grade(run: Trained) -> float:
    """The share of questions whose right answer is likelier than the three others; a quarter by chance."""
    right, *wrong = _shares(run).T
    return float((right > np.maximum.reduce(wrong)).mean())


def choice_brier(run: Trained) -> float:
    """The Brier score Σ(p − right)² of the options' probabilities, which sum to 1, mean over questions: .75
    of who takes them as equal, 0 of who knows (Schaeffer et al. 2023, section 4)."""
    shares = _shares(run)
    shares[:, 0] -= 1
    return float((shares**2).sum(1).mean())


def _shares(run: Trained) -> NDArray[np.float64]:
    """The probabilities of the options, the right one first: (questions, 4)."""
    equals, end = marks_of(run)
    text, separator = run.language.tokenizer, run.language.separator
    found = []
    for example in run.examples(run.rows):
        last = {row: (start, stop) for row, start, stop in answers(example, equals, end, separator)}
        if not last:
            continue
        options = [example, *({name: part.copy() for name, part in example.items()} for _ in range(3))]
        for row, (start, stop) in last.items():
            right = text.decode(example["targets"][row, start : stop - 1].tolist())
            first, final = right[0].translate(_NEXT), right[-1].translate(_NEXT)
            wrong = (first + right[1:], right[:-1] + final, first + right[1:-1] + final)
            for option, answer in zip(options[1:], wrong, strict=True):
                option["targets"][row, start : stop - 1] = text.encode(answer)
                option["tokens"][row, start + 1 : stop] = text.encode(answer)
        scores = torch.stack([_scores(run, option, last) for option in options], dim=1)
        found.append(scores.softmax(1).numpy())
    if not found:
        raise no_line(run)
    return np.concatenate(found)


def _scores(run: Trained, example: Example, places: dict[int, tuple[int, int]]) -> torch.Tensor:
    """ln p of the targets in ``places``, from start to stop by row: float64 (rows that are named)."""
    loss = F.cross_entropy(
        run.logits(run.run.model, example).double().transpose(1, 2),
        torch.from_numpy(example["targets"]),
        ignore_index=IGNORED,
        reduction="none",
    )
    return torch.stack([-loss[row, start:stop].sum() for row, (start, stop) in places.items()])
