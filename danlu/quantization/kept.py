"""Weights in few bits as plain tensors and JSON, for files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from danlu.quantization.formats import Format
from danlu.quantization.integers import Integers
from danlu.quantization.packing import bytes_of
from danlu.quantization.quantized import Quantized, named

SCALE_TYPES = {"float16": torch.float16, "float32": torch.float32}
FORMAT = {"format": str, "per": (str, int), "scale_type": (*SCALE_TYPES, None)}  # danlu.files.json.misfit
WEIGHT = {**FORMAT, "shape": [int]}
_MARK = ":"  # between the name of a weight and that of a part of it; no parameter has one


def described(format: Format) -> dict[str, Any]:
    """A format as JSON."""
    said: dict[str, Any] = {"format": format.name, "per": format.per}
    if isinstance(format, Integers):
        said["scale_type"] = str(format.scale_type).removeprefix("torch.")
    return said


def read_format(said: Mapping[str, Any]) -> Format:
    """The format that ``described`` wrote down. Raises ValueError for one that there is not."""
    scale_type = said.get("scale_type")
    return named(said["format"], said["per"], None if scale_type is None else SCALE_TYPES[scale_type])


def of_tokens(name: str) -> Format:
    """The format for activations: each token has a scale of its own, unless the format has groups by its
    definition. Raises ValueError for a name that there is not."""
    format = named(name)
    return format if isinstance(format.per, int) else named(name, "token")


def apart(weights: Mapping[str, Quantized]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of ``weights``, by ``NAME:codes``, ``NAME:scale``, …; and as JSON what each weight is."""
    tensors: dict[str, Tensor] = {}
    record: dict[str, Any] = {}
    for name, q in weights.items():
        tensors |= {
            f"{name}{_MARK}{part}": tensor.cpu() for part, tensor in {"codes": q.codes, **q.held}.items()
        }
        record[name] = {**described(q.format), "shape": list(q.shape)}
    return tensors, record


def together(tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> dict[str, Quantized]:
    """The weights that ``apart`` took apart; other tensors are passed over. Raises ValueError, naming the
    weight, where its tensors are missing or of another size."""
    parts: dict[str, dict[str, Tensor]] = {name: {} for name in record}
    for full, tensor in tensors.items():
        name, _, part = full.partition(_MARK)
        if part and name in parts:
            parts[name][part] = tensor
    found = {}
    for name, said in record.items():
        held, shape = parts[name], tuple(said["shape"])
        try:
            format = read_format(said)
            codes = held.pop("codes", None)
            if codes is None:
                raise ValueError("its codes are missing")
            q = Quantized(format, shape, codes, held)
            rows, size = q.rows
            known = format.fit(torch.zeros(rows, size))
            expected = {
                part: bytes_of(format.levels, len(t)) if part == "zero" else t.numel()
                for part, t in known.items()
            }
            if {part: t.numel() for part, t in held.items()} != expected:
                raise ValueError(
                    f"beside its codes it has {sorted(held)} of other sizes than {sorted(known)}"
                )
            q.unpacked  # noqa: B018 - checks the number of bytes
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        found[name] = q
    return found


def plain(tensors: Mapping[str, Tensor], weights: Mapping[str, Quantized]) -> dict[str, Tensor]:
    """Every tensor under the name that a model has for it: those of ``weights`` as the numbers that they
    stand for, float32."""
    others = {name: t for name, t in tensors.items() if name.partition(_MARK)[0] not in weights}
    return others | {name: q.dequantize() for name, q in weights.items()}
