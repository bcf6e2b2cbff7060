"""Measures of the trained weights, and of what the model keeps when it writes."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch

from danlu.lab.errors import LabError
from danlu.lab.measures.trained import Trained
from danlu.models import Decoder, Encoder, Transformer
from danlu.optim.roles import named

HALF = 2  # bytes of a number in bfloat16 or float16
SELDOM = 1e-3  # of the training text
WRITTEN = 32  # tokens whose writing is timed


def cache_bytes(run: Trained) -> float:
    """Bytes that the model's cache holds of a sequence of ``data.context`` tokens, at two bytes a number, per
    token. Raises ``LabError`` for an encoder, which has none."""
    model, (length, *memory) = run.run.model, run.language.lengths
    if isinstance(model, Encoder) or not isinstance(model, Transformer):
        raise LabError(f"{run.folder} trained no decoder, so that it writes nothing and keeps no cache")
    return model.cache_bytes(length, HALF, *memory) / length


@torch.no_grad()
def writing_seconds(run: Trained) -> float:
    """Seconds in which the CPU writes a token of one sequence where the cache holds nearly ``data.context``:
    the median of the last ``WRITTEN`` of a held-out example. Raises ``LabError`` where the model is no
    decoder, or the context no longer than that."""
    model, context = run.run.model, run.language.context
    if not isinstance(model, Decoder):
        raise LabError(f"{run.folder} trained no decoder, and writing is timed of decoders alone")
    if context <= WRITTEN:
        raise LabError(f"data.context = {context} is too short to time writing; allowed: more than {WRITTEN}")
    tokens = torch.from_numpy(next(run.examples(1))["tokens"])
    caches, spent = model.caches(1, context), []
    model(tokens[:, :-WRITTEN], caches=caches)
    for token in tokens[:, -WRITTEN:].split(1, dim=1):
        start = time.perf_counter()
        model(token, caches=caches)
        spent.append(time.perf_counter() - start)
    return median(spent)


def unseen_rows(run: Trained) -> float:
    """Mean |w| over the embedding rows of the tokens that do not occur in the training text. Raises
    ``LabError`` where all occur."""
    return _rows(run, lambda shares: shares == 0, "is absent from")


def rare_rows(run: Trained) -> float:
    """Mean |w| over the embedding rows of the tokens that occur in the training text, each as less than a
    thousandth of it. Raises ``LabError`` where there is none."""
    return _rows(run, lambda shares: (shares > 0) & (shares < SELDOM), "is rare in")


def _rows(run: Trained, which: Callable[[np.ndarray], Any], what: str) -> float:
    """Mean |w| over the embedding rows of the tokens that ``which`` chooses by their shares."""
    vocabulary = run.run.tokenizer.vocabulary
    counts = np.bincount(run.language.source.train.ids, minlength=vocabulary)
    chosen = which(counts / counts.sum())
    if not chosen.any():
        raise LabError(f"of the {vocabulary} tokens of {run.folder} none {what} its training text")
    embedding: Any = run.run.model.embedding
    rows = embedding.weight[:vocabulary][torch.from_numpy(chosen)]
    return float(rows.float().abs().mean())


def weight_rms(run: Trained) -> float:
    """The root mean square of the numbers in the matrices of the blocks."""
    matrices = [p.parameter.float() for p in named(run.run.model) if p.hidden_matrix]
    squares = sum(float(matrix.square().sum()) for matrix in matrices)
    return float((squares / sum(matrix.numel() for matrix in matrices)) ** 0.5)
