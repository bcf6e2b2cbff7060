"""Masked language modelling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from danlu import spec
from danlu.data import Dataset
from danlu.nn import builds
from danlu.objectives.base import Example
from danlu.objectives.language import IGNORED, Ids, Key, Language


@builds(spec.Masked)
class Masked(Language):
    """Tokens are predicted from those on either side (Devlin et al. 2019, section 3.1 and appendix A.1).

    Of a row exactly round(``rate`` · context) positions, at least one, are drawn without replacement, as in
    BERT's own code. Each is then shown as the mask token with probability ``mask``, as a token drawn
    uniformly from the tokenizer's vocabulary with probability ``random``, and otherwise as it is. One id is
    added, ``mask_id``, the first after the tokenizer's.
    """

    along = "tokens", "targets"
    continues = False

    def __init__(
        self,
        source: Dataset,
        *,
        rate: float = 0.15,
        mask: float = 0.8,
        random: float = 0.1,
        z_loss: float = 0.0,
        teacher: spec.teachers.Teacher | None = None,
    ) -> None:
        self.mask, self.random = mask, random
        self.mask_id = source.tokenizer.vocabulary
        super().__init__(
            source,
            z_loss=z_loss,
            count=max(1, round(rate * source.spec.context)),
            lengths=(source.spec.context,),
            extra_ids=1,
            teacher=teacher,
        )

    def make(self, inputs: Ids, targets: Ids, keys: Sequence[Key], mask: Any = None) -> Example:
        shown, wanted = inputs.copy(), np.full_like(inputs, IGNORED)
        for row, key in enumerate(keys):
            draw = np.random.default_rng(key)
            places = draw.choice(self.context, self.count, replace=False)
            kinds = draw.random(self.count)
            others = draw.integers(self.text_ids, size=self.count)
            wanted[row, places] = kept = inputs[row, places]
            others = np.where(kinds < self.mask + self.random, others, kept)
            shown[row, places] = np.where(kinds < self.mask, self.mask_id, others)
        return {"tokens": shown, "targets": wanted, **self.documents(inputs)}
