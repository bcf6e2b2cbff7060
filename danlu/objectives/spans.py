"""Span corruption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from danlu import spec
from danlu.data import Dataset
from danlu.nn import builds
from danlu.objectives.base import Example
from danlu.objectives.language import Ids, Key, Language


@builds(spec.Spans)
class Spans(Language):
    """The encoder sees the text with spans left out, the decoder writes them (Raffel et al. 2020, section
    3.1.4 and figure 2).

    For the text "thank you for inviting me to your party" and the spans "for inviting" and "party":

    - the encoder sees     thank you <0> me to your <1>
    - the decoder writes   <0> for inviting <1> party <2>
    - the decoder sees     | <0> for inviting <1> party

    where <i> is the sentinel ``first_sentinel + i``, ascending from the first id after the tokenizer's; the
    last sentinel says that nothing follows; and | is the separator. How many tokens are left out, in how
    many spans, depends on the context alone, so that all rows are of the same lengths; see ``span_counts``.
    A row begins with what is kept and ends with a span.
    """

    def __init__(
        self,
        source: Dataset,
        *,
        rate: float = 0.15,
        mean: float = 3.0,
        z_loss: float = 0.0,
    ) -> None:
        self.noise, self.spans = span_counts(source.spec.context, rate, mean)
        self.first_sentinel = source.tokenizer.vocabulary
        written = self.noise + self.spans + 1
        super().__init__(
            source,
            z_loss=z_loss,
            count=written,
            lengths=(written, source.spec.context - self.noise + self.spans),
            extra_ids=self.spans + 1,
        )

    def make(self, inputs: Ids, targets: Ids, keys: Sequence[Key], mask: Any = None) -> Example:
        lengths = np.stack([self._draw(np.random.default_rng(key)) for key in keys])
        turns = np.tile([False, True], len(keys) * self.spans)
        left_out = np.repeat(turns, lengths.ravel()).reshape(inputs.shape)
        begins = np.diff(left_out, prepend=False) & left_out
        sentinels = self.first_sentinel - 1 + np.cumsum(begins, axis=1)
        # Of each position what each side gets, if anything: a sentinel where a span begins, and the token.
        seen = np.where(begins, sentinels, inputs)[begins | ~left_out]
        written = np.stack([sentinels, inputs], axis=-1)[np.stack([begins, left_out], axis=-1)]
        rows, begin, end = len(keys), self.separator, self.vocabulary - 1
        written = np.pad(written.reshape(rows, -1), [(0, 0), (1, 1)], constant_values=((0, 0), (begin, end)))
        return {
            "tokens": written[:, :-1],
            "targets": written[:, 1:],
            "encoder_tokens": seen.reshape(rows, -1),
        }

    def prompt(self, text: Sequence[int]) -> Example:
        """The text's end is what is left out: the encoder sees as much of the text as in training, and one
        sentinel; the decoder writes what that one stands for."""
        seen = [self.separator, *text][1 - self.lengths[1] :]
        return {
            "tokens": np.array([[self.separator, self.first_sentinel]]),
            "encoder_tokens": np.array([[*seen, self.first_sentinel]]),
        }

    def _draw(self, draw: np.random.Generator) -> Ids:
        """Lengths of what is kept and what is left out, in turn: [spans, 2]."""
        left_out = random_lengths(self.noise, self.spans, draw)
        return np.stack([random_lengths(self.context - self.noise, self.spans, draw), left_out], axis=1)


def span_counts(length: int, rate: float, mean: float) -> tuple[int, int]:
    """How many of ``length`` tokens are left out, and in how many spans: round(length · rate) and
    round(that / mean), as in T5, bounded so that every span and every text between two has a token.

    Raises ValueError for a length below 2, of which nothing can be both left out and kept.
    """
    if length < 2:
        raise ValueError(f"a text of {length} token cannot be both left out and kept; it takes 2 or more")
    noise = min(max(round(length * rate), 1), length - 1)
    return noise, min(max(round(noise / mean), 1), noise, length - noise)


def random_lengths(total: int, parts: int, draw: np.random.Generator) -> Ids:
    """``parts`` lengths of at least 1 that add up to ``total``, every such list equally likely: int64."""
    cuts = np.sort(draw.choice(total - 1, parts - 1, replace=False)) + 1
    return np.diff(cuts, prepend=0, append=total)
