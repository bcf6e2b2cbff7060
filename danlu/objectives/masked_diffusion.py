"""Masked diffusion: a text is written by unmasking its tokens in any order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from danlu import spec
from danlu.data import Dataset
from danlu.data.counter import TURN
from danlu.nn import builds
from danlu.objectives.base import Example, Tensors, beside
from danlu.objectives.language import IGNORED, Ids, Key, Language
from danlu.spec.objectives import BITS_PER_BYTE_BOUND, HELD_OUT_LOSS_BOUND

_TIMES = 0x74696D65  # "time": keeps the times of rows apart from what is random within a row


@builds(spec.MaskedDiffusion)
class MaskedDiffusion(Language):
    """A masked token is predicted from all that are visible, and its loss is weighted 1/t where a share t of
    the row is masked (MDLM, Sahoo et al. 2024): the mean is an upper bound on −ln p of the text.

    Of a row of n tokens t·n are masked, drawn without replacement, and t is one of 1/n, 2/n, … 1. Since
    ∫ dt/t E[f(masks)] over independent masks of probability t is Σ E[f(t·n masks)]/(t·n) over this grid
    (both are the mean over orders, as Hoogeboom et al. 2022 train), this is MDLM's loss for α = 1 − t, where
    dσ/expm1(σ) = 1/t, with less noise: a row always weighs n. The ε of MDLM's code (α = 1 − (1 − ε)t,
    t ≥ ε) keeps independent masks from weights without bound, and is not needed.

    The times of an update are spread evenly over its rows, those of an evaluation over all windows, each of
    which is asked four times. The mask is never predicted, and a visible token
    costs nothing (SUBS). One id is added, ``mask_id``, the first after the tokenizer's. ``weights``, float32
    [rows], of an example are 1/t.
    """

    metrics = BITS_PER_BYTE_BOUND, HELD_OUT_LOSS_BOUND
    rounds = 4  # its noise, 1 % with one time for each window, is .3 % with four

    def __init__(self, source: Dataset, *, z_loss: float = 0.0) -> None:
        self.mask_id = source.tokenizer.vocabulary
        context = source.spec.context
        super().__init__(source, z_loss=z_loss, count=context, lengths=(context,), extra_ids=1)

    def make(self, inputs: Ids, targets: Ids, keys: Sequence[Key], mask: Any = None) -> Example:
        shown, wanted = inputs.copy(), np.full_like(inputs, IGNORED)
        weights = np.empty(len(inputs), np.float32)
        for row, key in enumerate(keys):
            count = 1 + int(time(key) * self.context)
            places = np.random.default_rng(key).choice(self.context, count, replace=False)
            wanted[row, places], shown[row, places] = inputs[row, places], self.mask_id
            weights[row] = self.context / count
        return {"tokens": shown, "targets": wanted, "weights": weights}

    @property
    def predicted(self) -> int:
        """The tokenizer's ids alone, as if the logit of the mask were −∞."""
        return self.mask_id

    def scored(self, example: Tensors) -> torch.Tensor:
        """The whole text, since the loss bounds −ln p of all of it."""
        masked = example["targets"] != IGNORED
        text = torch.where(masked, example["targets"], example["tokens"])
        return text.masked_fill(~masked.any(1, keepdim=True), IGNORED)

    def measure(self, sums: Any) -> dict[str, float]:
        bound, loss = super().measure(sums).values()
        return {"bits_per_byte_bound": bound, "held_out_loss": loss}

    # ---------------------------------------------------------------- writing

    def follow(
        self, model: Any, text: Sequence[int], count: int, *, bare: bool = False, seed: int = 0, **how: Any
    ) -> Iterator[int]:
        """As ``fill`` writes it, in windows of ``context``, each of which begins with the last half of that
        before. The tokens after the last one stay masked."""
        known = list(text) if bare else [self.separator, *text]
        wanted = len(known) + count
        generator = torch.Generator().manual_seed(seed)
        while len(known) < wanted:
            given = known if len(known) < self.context else known[len(known) - self.context // 2 :]
            window = np.full(self.context, self.mask_id)
            window[: len(given)] = given
            new = slice(len(given), len(given) + wanted - len(known))
            masked = np.zeros(self.context, bool)
            masked[new] = True
            found = self.fill(model, window, masked, generator=generator, **how)[new].tolist()
            known += found
            yield from found

    def fill(
        self, model: Any, tokens: Ids, masked: Any = None, *, generator: torch.Generator, **how: Any
    ) -> Ids:
        """The text ``tokens``, int64 [positions], of which the model writes what is ``masked`` (default:
        where the mask stands) and keeps the rest. ``how``: as ``danlu.models.unmask`` takes it."""
        from danlu.models import unmask

        masked = tokens == self.mask_id if masked is None else masked
        start = beside(model, tokens[None])
        places = torch.from_numpy(np.asarray(masked))[None].to(start.device)
        filled = unmask(
            lambda text: self.logits(model, {"tokens": text}), start, places, generator=generator, **how
        )
        return filled[0].cpu().numpy()


def time(key: Key) -> float:
    """When the row of ``key`` is: in [0, 1), uniform over keys, spread evenly over the rows of an update."""
    return (_first(key[:-1]) + key[-1] * TURN) % 1


@lru_cache(maxsize=4)  # only a memo
def _first(key: Key) -> float:
    return float(np.random.default_rng((_TIMES, *key)).random())
