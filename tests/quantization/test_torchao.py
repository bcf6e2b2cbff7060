"""torchao's formats, where it is installed: the same scales and codes, bit for bit but where a definition
differs, which a test says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from danlu.quantization import (
    FP8,
    MX,
    NF4,
    NVFP4,
    Integers,
    fake_quantize,
    integer_linear,
    nf4,
    quantize,
    relative_error,
)
from danlu.quantization.formats import rows_of

pytest.importorskip("torchao", reason="the extra oracles is not installed")

from torchao.prototype.mx_formats.config import ScaleCalculationMode
from torchao.prototype.mx_formats.kernels import unpack_uint4
from torchao.prototype.mx_formats.mx_tensor import to_dtype, to_mx
from torchao.prototype.mx_formats.nvfp4_tensor import nvfp4_quantize, per_tensor_amax_to_scale
from torchao.quantization import quant_api as api
from torchao.quantization import quant_primitives as primitives
from torchao.quantization.granularity import PerGroup
from torchao.quantization.quant_primitives import MappingType

MAPPINGS = {
    "narrow": MappingType.SYMMETRIC,  # from −q_max, where theirs is told to start there
    "full": MappingType.SYMMETRIC,
    "unclipped": MappingType.SYMMETRIC_NO_CLIPPING_ERR,
    "affine": MappingType.ASYMMETRIC,
}
ELEMENTS = {
    "e2m1": torch.float4_e2m1fn_x2,
    "e4m3": torch.float8_e4m3fn,
    "e5m2": torch.float8_e5m2,
}
SMALLEST = 2.0**-6  # the smallest normal number of e4m3, below which theirs keeps no scale of NVFP4


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def spread() -> Tensor:
    """Rows, and groups of 16 within them, of very different sizes; rows of one sign, and one of zeros."""
    x = normal(24, 256) * torch.exp(3 * normal(24, 16, seed=1)).repeat_interleave(16, dim=1)
    x[1], x[2], x[3] = x[1].abs() + 0.1, -x[2].abs(), 0
    return x


def blocks(x: Tensor, per: Any) -> tuple[int, int]:
    """What shares a scale, in theirs."""
    if per == "tensor":
        return tuple(x.shape)  # type: ignore[return-value]
    return 1, x.shape[1] if per == "channel" else per


def linear() -> nn.Linear:
    made = nn.Linear(128, 48)
    made.weight.data.copy_(normal(48, 128, seed=2))
    made.bias.data.copy_(normal(48, seed=3))
    return made.requires_grad_(False)


# ---------------------------------------------------------------- integers


@pytest.mark.parametrize("per", ["tensor", "channel", 32])
@pytest.mark.parametrize("grid", MAPPINGS)
@pytest.mark.parametrize("bits", range(2, 9))
def test_integers(bits: int, grid: str, per: Any) -> None:
    """A row of zeros has the scale 1 here and the least number there; both hold it exactly."""
    x, format = spread(), Integers(bits=bits, grid=grid, per=per)  # type: ignore[arg-type]
    how = {"quant_min": format.least, "quant_max": format.greatest}
    scale, zero = primitives.choose_qparams_affine(x, MAPPINGS[grid], blocks(x, per), torch.int8, **how)
    codes = primitives.quantize_affine(x, blocks(x, per), scale, zero, torch.int8, **how)
    rows = rows_of(x, per)
    ours = format.scales(format.fit(rows))
    some = rows.abs().amax(1) > 0
    assert torch.equal(ours.scale[:, 0][some], scale.flatten()[some])
    assert torch.equal(
        torch.zeros_like(ours.scale) if ours.zero is None else ours.zero, zero.float().view(-1, 1)
    )
    assert torch.equal(format.integers(rows, ours), rows_of(codes, per).float())
    theirs = primitives.dequantize_affine(codes, blocks(x, per), scale, zero, torch.int8, **how)
    torch.testing.assert_close(quantize(x, format).dequantize(), theirs, rtol=1e-6, atol=0)


def test_weights_of_int4_kernels_start_at_their_least_number() -> None:
    """tinygemm's format, of Int4WeightOnlyConfig: x = s(q − 8) + z with z = min + 8s, where no level need be
    0. Its s is ours where 0 is inside; our grid is theirs moved by less than half a step, to hold 0."""
    x, format = spread()[4:], Integers(bits=4, grid="affine", per=32)
    scale, zero = primitives._choose_qparams_affine_tinygemm(
        x, MappingType.ASYMMETRIC, (1, 32), torch.int32, 0, 15
    )
    rows = rows_of(x, 32)
    ours = format.scales(format.fit(rows))
    assert ((rows.amin(1) < 0) & (rows.amax(1) > 0)).all()
    assert torch.equal(ours.scale[:, 0], scale.flatten())
    least = (zero.flatten() - 8 * scale.flatten()) / ours.scale[:, 0]  # of theirs, in steps
    torch.testing.assert_close(least, rows.amin(1) / ours.scale[:, 0], rtol=1e-5, atol=1e-5)
    assert ((format.least - ours.zero[:, 0] - least).abs() <= 0.5001).all()  # type: ignore[index]


def test_8da4w() -> None:
    """int8 per token with zeros, times int4 in groups of 32: bit for bit."""
    made, x = linear(), normal(2, 7, 128, seed=4) + 0.3
    inputs, weights = Integers(bits=8, grid="affine", per="token"), Integers(bits=4, grid="full", per=32)
    expected = F.linear(fake_quantize(x, inputs), fake_quantize(made.weight, weights), made.bias)
    ours = quantize(made.weight, weights).dequantize()
    api.quantize_(
        made,
        api.Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int4, weight_granularity=PerGroup(32)),
    )
    assert torch.equal(made.weight.dequantize(), ours)
    assert torch.equal(made(x), expected)


@pytest.mark.parametrize("grid", ["full", "affine"])
def test_int8_times_int8(grid: str) -> None:
    """Products of integers; theirs takes the zeros' share off after rounding to float32."""
    made, x = linear(), normal(2, 7, 128, seed=4) + 0.3
    q_x = quantize(x, Integers(bits=8, grid=grid, per="token"))  # type: ignore[arg-type]
    ours = integer_linear(q_x, quantize(made.weight, Integers(bits=8, grid="full")), made.bias)
    api.quantize_(
        made,
        api.Int8DynamicActivationInt8WeightConfig(act_mapping_type=MAPPINGS[grid], set_inductor_config=False),
    )
    if grid == "full":
        assert torch.equal(ours, made(x))
    torch.testing.assert_close(ours, made(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bits", range(2, 9))
def test_weights_alone(bits: int) -> None:
    made = linear()
    ours = quantize(made.weight, Integers(bits=bits, grid="full", per=32)).dequantize()
    by_rows = quantize(made.weight, Integers(bits=8, grid="full")).dequantize()
    whole = linear()
    api.quantize_(whole, api.Int8WeightOnlyConfig(set_inductor_config=False))
    api.quantize_(
        made, api.IntxWeightOnlyConfig(weight_dtype=getattr(torch, f"int{bits}"), granularity=PerGroup(32))
    )
    assert torch.equal(made.weight.dequantize(), ours)
    assert torch.equal(whole.weight.dequantize(), by_rows)


# ---------------------------------------------------------------- floats


@pytest.mark.parametrize("per", ["tensor", "channel", 32])
@pytest.mark.parametrize("element", ["e4m3", "e5m2"])
def test_fp8(element: str, per: Any) -> None:
    """The same scales; theirs divides by them where ours multiplies, so that a number may be a step off."""
    x = spread()[4:]
    scale = primitives._choose_scale_float8(x, blocks(x, per), ELEMENTS[element])
    theirs = primitives._quantize_affine_float8(x, scale, ELEMENTS[element])
    q = quantize(x, FP8(element=element, per=per))  # type: ignore[arg-type]
    codes, held = q.unpacked
    assert torch.equal(held["scale"], scale.flatten())
    apart = codes.view(x.shape).int() - theirs.view(torch.uint8).int()
    assert apart.abs().max() <= 1 and (apart != 0).float().mean() < 1e-3


@pytest.mark.parametrize("rounding", ["floor", "ceil"])
@pytest.mark.parametrize("element", ELEMENTS)
def test_mx(element: str, rounding: str) -> None:
    """A group of zeros has 2⁰ here and 2⁻¹²⁷ there."""
    x, format = spread(), MX(element=element, rounding=rounding)  # type: ignore[arg-type]
    mode = ScaleCalculationMode.FLOOR if rounding == "floor" else ScaleCalculationMode.RCEIL
    scale, theirs = to_mx(x, ELEMENTS[element], 32, mode)
    q = quantize(x, format)
    codes, held = q.unpacked
    some = rows_of(x, 32).abs().amax(1) > 0
    bytes_ = scale.view(torch.uint8).flatten()
    assert torch.equal(held["scale"][some], bytes_[some])
    assert set(held["scale"][~some].tolist()) == {127} and set(bytes_[~some].tolist()) == {0}
    unpacked = unpack_uint4(theirs) if element == "e2m1" else theirs.view(torch.uint8)
    assert torch.equal(codes.view(x.shape), unpacked)
    assert torch.equal(q.dequantize(), to_dtype(theirs, scale, ELEMENTS[element], 32, torch.float32))


def test_mx_clips_nothing_just_above_a_power_of_two() -> None:
    """Theirs takes ⌈log₂⌉ in float32, which a number one step above 2^k has k of."""
    top = 6 * torch.ldexp(torch.tensor(1 + 2.0**-22), torch.arange(-20, 21))
    x = torch.zeros(41, 32)
    x[:, 0] = top
    held = MX(rounding="ceil").fit(x)["scale"].int()
    scale, _ = to_mx(x, ELEMENTS["e2m1"], 32, ScaleCalculationMode.RCEIL)
    assert held.tolist() == [k + 1 + 127 for k in range(-20, 21)]
    assert {0, 1} == set((held - scale.view(torch.uint8).flatten().int()).tolist())


def test_nvfp4() -> None:
    """Theirs keeps no scale below e4m3's smallest normal number, ours its subnormal ones too."""
    x = spread()[4:]
    q = quantize(x, NVFP4())
    codes, held = q.unpacked
    whole = per_tensor_amax_to_scale(x.abs().max())
    scale, theirs = nvfp4_quantize(x, per_tensor_scale=whole)
    small = held["scale"].view(torch.float8_e4m3fn).float()
    assert torch.equal(held["tensor"], whole)
    assert torch.equal(small.clamp(min=SMALLEST), scale.float().flatten())
    same = small >= SMALLEST
    assert 0.2 < same.float().mean() < 0.9
    unpacked = rows_of(unpack_uint4(theirs), 16)
    apart = (_ordered(codes) - _ordered(unpacked))[same]
    assert apart.abs().max() <= 1 and (apart != 0).float().mean() < 1e-3


def _ordered(codes: Tensor) -> Tensor:
    """Codes of e2m1 in the order of their numbers."""
    return torch.where(codes >= 8, 8 - codes.int(), codes.int())


def test_nf4() -> None:
    """Theirs has the levels to four digits. It keeps the scales in 128ths of their range, of which the
    greatest is clipped by one, ours in 127ths."""
    module = pytest.importorskip("torchao.quantization.quantize_.workflows.nf4.nf4_tensor")
    x = normal(256, 512) * torch.linspace(0.5, 3, 256)[:, None]
    theirs = module.NF4Tensor.from_tensor(x, 64, 256)
    torch.testing.assert_close(theirs.nf4, nf4(), rtol=0, atol=6e-5)
    codes = torch.stack([theirs.quantized_data >> 4, theirs.quantized_data & 15], dim=1).view(-1, 64)
    single, double = quantize(x, NF4()), quantize(x, NF4(double=True))
    apart = single.unpacked[0].int() - codes.int()
    assert apart.abs().max() <= 1 and (apart != 0).float().mean() < 1e-3
    exact = single.held["scale"]
    step = 128 / 127 / theirs.quantization_factor.repeat_interleave(256)  # ours, by theirs: amax/128
    torch.testing.assert_close(double.held["mean"], theirs.scaler_mean)
    torch.testing.assert_close(double.held["step"].repeat_interleave(256), step)
    kept = theirs.dequantize_scalers(theirs.quantized_scalers, theirs.quantization_factor, 256)
    ours = double.format.scales(double.unpacked[1]).scale[:, 0]
    assert ((ours - exact).abs() <= 0.5001 * step).all() and ((kept - exact).abs() <= 1.0001 * step).all()
    assert relative_error(x, double.dequantize()) <= relative_error(x, theirs.get_original_weight())
