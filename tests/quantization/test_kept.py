"""Weights in few bits as files have them."""

from __future__ import annotations

import json

import pytest
import torch

from danlu.quantization import FORMATS, named, quantize
from danlu.quantization.kept import apart, described, plain, read_format, together


@pytest.mark.parametrize("name", FORMATS)
def test_what_was_taken_apart_comes_together(name: str) -> None:
    torch.manual_seed(0)
    weight = torch.randn(6, 64)
    q = quantize(weight, named(name, scale_type=torch.float16))
    tensors, record = apart({"a.weight": q})
    found = together({**tensors, "other": weight}, json.loads(json.dumps(record)))["a.weight"]
    assert found.format == q.format and found.bytes == q.bytes
    assert torch.equal(found.dequantize(), q.dequantize())
    named_tensors = plain({**tensors, "other": weight}, {"a.weight": found})
    assert named_tensors.keys() == {"a.weight", "other"}
    assert torch.equal(named_tensors["a.weight"], q.dequantize())


@pytest.mark.parametrize("per", ["tensor", "channel", 16])
def test_a_format_as_json(per: str | int) -> None:
    format = named("int5-affine", per, torch.float16)  # type: ignore[arg-type]
    assert read_format(json.loads(json.dumps(described(format)))) == format


def test_tensors_that_do_not_fit_are_told() -> None:
    tensors, record = apart({"w": quantize(torch.randn(4, 32), named("int4", 8))})
    for part, sentence in (("codes", "w: 63 bytes for 128 codes"), ("scale", "w: beside its codes it has")):
        with pytest.raises(ValueError, match=sentence):
            together({**tensors, f"w:{part}": tensors[f"w:{part}"][:-1]}, record)
    with pytest.raises(ValueError, match="w: its codes are missing"):
        together({}, record)
    with pytest.raises(ValueError, match="w: groups of 8 do not divide"):
        together(tensors, {"w": {**record["w"], "shape": [4, 33]}})
