"""Bigram-Backcopy: text by a table of pairs, in which what stands before a trigger comes again after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from numpy.typing import NDArray

from danlu import spec
from danlu.data import Counter, DataError, Dataset
from danlu.nn import builds
from danlu.objectives.base import Draw, Example, HeldOut, Tensors
from danlu.objectives.language import Ids, Key, Language, filled

_TRAINING, _HELD_OUT = 0x62636F70, 0x62636F71  # keep these random streams apart from each other and others
_HELD_OUT_TOKENS = 65_536  # where the experiment sets no limit


class Pairs(NamedTuple):
    """``ids``, int64 [n]: the tokens, the most frequent first. ``first``, float64 [n]: how probable each is
    at the beginning; ``follows``, float64 [n, n]: row i, what follows token i."""

    ids: Ids
    first: NDArray[np.float64]
    follows: NDArray[np.float64]


def count_pairs(text: NDArray[Any], characters: int, triggers: int, without: int) -> Pairs:
    """The table of the ``characters`` most frequent tokens of ``text``, ids [tokens], other than ``without``,
    the separator; of all, where there are fewer. Pairs with other tokens do not count; a token that none of
    them follows is followed by any, by frequency. The first ``triggers`` begin no row. Raises ``DataError``
    for a text that has no more tokens than these."""
    often = np.bincount(text)
    if without < len(often):
        often[without] = 0
    characters = min(characters, int(np.count_nonzero(often)))
    if characters <= triggers:
        raise DataError(
            f"objective.triggers = {triggers}, and the training text has {characters} different tokens; "
            "lower objective.triggers or train on another text"
        )
    ids = np.argsort(-often, kind="stable")[:characters]
    places = np.full(len(often), characters)
    places[ids] = np.arange(characters)
    codes = places[text]
    kept = (codes[:-1] < characters) & (codes[1:] < characters)
    seen = np.bincount(codes[:-1][kept] * characters + codes[1:][kept], minlength=characters**2)
    counts = seen.reshape(characters, characters).astype(np.float64)
    shares = often[ids] / often[ids].sum()
    empty = counts.sum(1) == 0
    counts[empty] = shares
    first = np.where(np.arange(characters) < triggers, 0.0, shares)
    return Pairs(ids, first / first.sum(), counts / counts.sum(1, keepdims=True))


@builds(spec.BigramBackcopy)
class BigramBackcopy(Language):
    """Each row: the separator; a token drawn by frequency, no trigger; then, after a trigger the token before
    it, and else a draw from the table's row of the last token (Guo et al. 2024, section 2).

    Two triggers never stand side by side behind the first draw of one, since what is copied is no trigger.
    So the best loss is 0 after triggers and the entropy of the table's row elsewhere; metrics take the
    −ln p of what was drawn from the loss, token by token, of which the mean is that entropy.
    """

    def __init__(
        self, source: Dataset, *, triggers: int = 3, characters: int = 64, z_loss: float = 0.0
    ) -> None:
        self.triggers, self.characters = triggers, characters
        context = source.spec.context
        super().__init__(source, z_loss=z_loss, count=context, lengths=(context,))

    @cached_property
    def pairs(self) -> Pairs:
        """What rows are drawn from: of the training text."""
        text = self.source.train
        return count_pairs(text.ids[: text.limit], self.characters, self.triggers, self.separator)

    @cached_property
    def _nats(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The place of each id in the table, int64 [ids], and −ln p of a token after each other, float32
        [n + 1, n], the last row at the beginning."""
        places = torch.zeros(self.vocabulary, dtype=torch.int64)
        places[torch.from_numpy(self.pairs.ids)] = torch.arange(len(self.pairs.ids))
        places[self.separator] = len(self.pairs.ids)
        with np.errstate(divide="ignore"):
            nats = -np.log(np.vstack([self.pairs.follows, self.pairs.first]))
        return places, torch.from_numpy(nats).float()

    def rows(self, uniform: NDArray[np.float64]) -> Ids:
        """Rows of ids, int64 [rows, 1 + numbers], of ``uniform`` numbers [rows, numbers] in [0, 1)."""
        ids, first, follows = self.pairs
        edges, last = follows.cumsum(1), len(ids) - 1
        codes = np.empty(uniform.shape, np.int64)
        codes[:, 0] = np.minimum(np.searchsorted(first.cumsum(), uniform[:, 0], side="right"), last)
        for i in range(1, uniform.shape[1]):
            before = codes[:, i - 1]
            drawn = np.minimum((edges[before] <= uniform[:, i, None]).sum(1), last)
            # The first token is no trigger, so there always is one before a trigger.
            codes[:, i] = np.where(before < self.triggers, codes[:, i - 2], drawn)
        return np.concatenate([np.full((len(codes), 1), self.separator), ids[codes]], axis=1)

    def make(self, inputs: Ids, targets: Ids, keys: Sequence[Key], mask: Any = None) -> Example:
        return {"tokens": inputs, "targets": targets}

    def example(self, draw: Draw) -> Example:
        uniform = Counter(draw.seed, draw.step, _TRAINING).uniform(draw.start, draw.stop, self.context)
        rows = self.rows(uniform)
        return self.make(rows[:, :-1], rows[:, 1:], ())

    def held_out(self, limit: int | None = None) -> HeldOut:
        """Rows of a stream of their own, the same for every seed: ``limit`` tokens, or 65,536."""
        counter = Counter(0, 0, _HELD_OUT)

        def example(places: Sequence[int], rows: int | None) -> Example:
            drawn = [counter.uniform(place, place + 1, self.context) for place in list(places) or [0]]
            made = self.rows(np.concatenate(drawn))
            whole = self.make(made[:, :-1], made[:, 1:], ())
            return filled(whole, len(places), len(drawn) if rows is None else rows)

        return HeldOut(max(1, (limit or _HELD_OUT_TOKENS) // self.context), example)

    def copies(self, tokens: torch.Tensor) -> torch.Tensor:
        """Where what follows is a copy: bool, shaped like ``tokens``."""
        triggers = torch.from_numpy(self.pairs.ids[: self.triggers]).to(tokens.device)
        return torch.isin(tokens, triggers)

    def score(self, model: nn.Module, example: Tensors) -> dict[str, torch.Tensor]:
        tokens, targets = example["tokens"], example["targets"]
        logits = self.logits(model, example)
        nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
        places, table = (one.to(tokens.device) for one in self._nats)
        counted, copied = targets >= 0, self.copies(tokens)
        best = table[places[tokens], places[targets.clamp(min=0)]]
        return {
            "nats": nats.sum(),
            "best": best[counted & ~copied].sum(),
            "tokens": counted.sum(),
            "trigger_nats": nats[copied].sum(),
            "triggers": (counted & copied).sum(),
        }

    def measure(self, sums: Mapping[str, float]) -> dict[str, float]:
        nats, best, tokens = sums["nats"], sums["best"], sums["tokens"]
        copied, triggers = sums["trigger_nats"], sums["triggers"]
        return {
            "excess_loss": (nats - best) / tokens,
            "trigger_loss": copied / max(triggers, 1),
            "bigram_excess": (nats - copied - best) / max(tokens - triggers, 1),
            "held_out_loss": nats / tokens,
        }

    def about(self) -> str:
        return f"pairs of {len(self.pairs.ids)} tokens of {self.source.spec.corpus}"
