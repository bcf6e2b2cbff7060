"""Models whose logits are known, and objectives over bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from danlu import spec
from danlu.data import Dataset
from danlu.data.tokenizers import Bytes
from danlu.objectives import Example, Language, Objective, build, training_keys

BYTES = Bytes()


def objective(described: spec.Objective, context: int, **data: Any) -> Any:
    """The objective over bytes with rows of ``context``."""
    built = build(described, Dataset.outline(spec.Text(context=context, **data), BYTES))
    assert isinstance(built, Objective)
    return built


def text(rows: int, context: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of random bytes, and the same one token later."""
    stream = np.random.default_rng(seed).integers(256, size=(rows, context + 1))
    return stream[:, :-1].copy(), stream[:, 1:].copy()


def example(of: Language, rows: int, seed: int = 0, step: int = 0) -> Example:
    """An example of random bytes as in training."""
    return of.make(*text(rows, of.context, seed), training_keys(seed, step, 0, rows))


def tensors(arrays: Example) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(part) for name, part in arrays.items()}


class Table(torch.nn.Module):
    """Logits in float64 that do not depend on the tokens, and a note of what came with them."""

    def __init__(self, batch: int, positions: int, vocabulary: int) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(torch.randn(batch, positions, vocabulary, dtype=torch.float64))
        self.came: dict[str, Any] = {}

    def forward(self, tokens: torch.Tensor, **came: Any) -> torch.Tensor:
        self.came = {"tokens": tokens, **came}
        return self.logits
