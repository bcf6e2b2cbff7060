"""Networks in few bits that ``danlu quantize`` wrote, read back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn as nn

from danlu.files.json import misfit
from danlu.quantization import kept
from danlu.quantization.rounded import rounded
from danlu.train.errors import RunError

# Of a checkpoint's state: ``weights`` by name, ``activations`` that come into their maps, ``by`` what method,
# and the ``run`` and ``step`` that they are of.
RECORD = {
    "weights": {...: kept.WEIGHT}, "activations": (kept.FORMAT, None), "by": str, "run": str, "step": int
}  # fmt: skip


def exact_names(
    tensors: Mapping[str, torch.Tensor], record: Mapping[str, Any], where: str
) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint in few bits under the names and with the numbers that the model has.
    Raises ``RunError`` for a record or tensors that do not fit."""
    wrong = misfit(record, RECORD, "quantized")
    try:
        if wrong:
            raise ValueError(wrong)
        return kept.plain(tensors, kept.together(tensors, record["weights"]))
    except ValueError as error:
        raise RunError(f"{where}: {error}; write the folder anew by danlu quantize") from None


def round_activations(model: nn.Module, record: Mapping[str, Any]) -> None:
    """Let the maps of ``model`` whose weights are in few bits round their inputs, if the record says so."""
    if record["activations"] is not None:
        format = kept.read_format(record["activations"])
        for name, module in list(model.named_modules()):
            if f"{name}.weight" in record["weights"] and isinstance(module, nn.Linear):
                rounded(module, None, format)
