"""Networks in few bits that ``danlu quantize`` wrote, read back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn as nn

from danlu.files.json import misfit
from danlu.quantization import Format, Quantized, kept
from danlu.quantization.rounded import multiply_integers, rounded
from danlu.train.errors import RunError

# Of a checkpoint's state: ``weights`` by name, ``activations`` that come into their maps, ``by`` what method,
# and the ``run`` and ``step`` that they are of.
RECORD = {
    "weights": {...: kept.WEIGHT}, "activations": (kept.FORMAT, None), "by": str, "run": str, "step": int
}  # fmt: skip


def read(
    tensors: Mapping[str, torch.Tensor], record: Mapping[str, Any], where: str
) -> tuple[dict[str, Quantized], Format | None]:
    """The weights in few bits of a checkpoint, by name, and the format of what comes into their maps. Raises
    ``RunError`` for a record or tensors that do not fit."""
    wrong = misfit(record, RECORD, "quantized")
    try:
        if wrong:
            raise ValueError(wrong)
        inputs = record["activations"]
        return kept.together(tensors, record["weights"]), inputs and kept.read_format(inputs)
    except ValueError as error:
        raise RunError(f"{where}: {error}; write the folder anew by danlu quantize") from None


def round_activations(model: nn.Module, weights: Mapping[str, Quantized], format: Format | None) -> None:
    """Let the maps of ``model`` that have these ``weights``, by name, round their inputs to ``format``, if
    there is one; and multiply integers where that pays."""
    if format is None:
        return
    for name, module in list(model.named_modules()):
        if f"{name}.weight" in weights and isinstance(module, nn.Linear):
            rounded(module, None, format)
    multiply_integers(model, weights)
