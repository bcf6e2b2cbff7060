"""Prediction of each token from those before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu import spec
from danlu.data import Dataset
from danlu.nn import builds
from danlu.objectives.base import Example
from danlu.objectives.language import IGNORED, Ids, Key, Language


@builds(spec.Causal)
class Causal(Language):
    """Every token is predicted from those before it in its row."""

    stackable = True
    along = "tokens", "targets"

    def __init__(
        self,
        source: Dataset,
        *,
        z_loss: float = 0.0,
        smoothing: float = 0.0,
        teacher: spec.teachers.Teacher | None = None,
    ) -> None:
        self.smoothing = smoothing
        context = source.spec.context
        super().__init__(source, z_loss=z_loss, count=context, lengths=(context,), teacher=teacher)

    def make(self, inputs: Ids, targets: Ids, keys: Sequence[Key], mask: Any = None) -> Example:
        if mask is not None:
            targets = np.where(mask, targets, IGNORED)
        return {"tokens": inputs, "targets": targets, **self.documents(inputs)}

    def takes(self, mask: NDArray[np.bool_]) -> bool:
        return bool(mask.any())


@builds(spec.Prefix)
class Prefix(Language):
    """The first ``length`` tokens of a row see one another; the others are predicted from those before
    them (Raffel et al. 2020, section 3.2.1). With ``length`` 1 it is ``Causal``."""

    stackable = True
    along = "tokens", "targets"

    def __init__(
        self,
        source: Dataset,
        *,
        length: int = 32,
        z_loss: float = 0.0,
        teacher: spec.teachers.Teacher | None = None,
    ) -> None:
        # The last token of the prefix predicts the first one after it: length − 1 targets are given away.
        self.given = length - 1
        super().__init__(
            source,
            z_loss=z_loss,
            count=source.spec.context - self.given,
            lengths=(source.spec.context,),
            scope={"prefix": length},
            teacher=teacher,
        )

    def make(self, inputs: Ids, targets: Ids, keys: Sequence[Key], mask: Any = None) -> Example:
        targets = targets.copy() if mask is None else np.where(mask, targets, IGNORED)
        targets[:, : self.given] = IGNORED
        return {"tokens": inputs, "targets": targets, **self.documents(inputs)}

    def takes(self, mask: NDArray[np.bool_]) -> bool:
        return bool(mask[self.given :].any())
