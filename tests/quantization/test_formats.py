"""Every format: its levels, its scales, what it keeps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.quantization import (
    FORMATS,
    FP8,
    MX,
    NF4,
    NVFP4,
    Integers,
    Stretched,
    Ternary,
    named,
    nf4,
    quantize,
    rows_of,
)

E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", FORMATS)
def test_what_was_rounded_is_kept(name: str) -> None:
    """Levels are fixed points: with the scales that it has, a tensor that was rounded rounds to itself."""
    format, x = FORMATS[name], normal(6, 192)
    rows = rows_of(x, format.per)
    scales = format.scales(format.fit(rows))
    once = format.nearest(rows, scales)
    assert torch.equal(format.nearest(once, scales), once) and not torch.equal(once, rows)


@pytest.mark.parametrize("name", FORMATS)
def test_zeros_stay_zeros_where_there_is_a_level_for_them(name: str) -> None:
    y = quantize(torch.zeros(2, 64), FORMATS[name]).dequantize()
    assert y.abs().max() == 0 if name != "int2-stretched" else y.abs().max() < 1e-5


@pytest.mark.parametrize("per", ["tensor", "channel", "token", 4, 16])
@pytest.mark.parametrize("name", ["int4-narrow", "int3-affine", "nf4", "fp8-e5m2", "ternary"])
def test_a_row_alone_gives_what_it_gives_among_others(name: str, per: str | int) -> None:
    format, x = named(name, per), normal(3, 5, 16) * torch.tensor([1e-3, 1, 1e3])[:, None, None]
    together = rows_of(quantize(x, format).dequantize(), per)
    for row, kept in zip(rows_of(x, per), together, strict=True):
        assert torch.equal(quantize(row, named(name, "tensor")).dequantize(), kept)


def test_integers_agree_with_pytorchs_operators() -> None:
    x = normal(8, 64)
    for bits in (2, 3, 4, 8):
        narrow = Integers(bits=bits)
        top = 2 ** (bits - 1) - 1
        scale = x.abs().amax(dim=1) / top
        theirs = torch.fake_quantize_per_channel_affine(x, scale, torch.zeros(8).int(), 0, -top, top)
        assert torch.equal(quantize(x, narrow).dequantize(), theirs)
        affine = Integers(bits=bits, grid="affine", per="tensor")
        held = affine.fit(rows_of(x, "tensor"))
        least = -(2 ** (bits - 1))
        theirs = torch.fake_quantize_per_tensor_affine(
            x, held["scale"][0], held["zero"][0].int() + least, least, top
        )
        assert torch.equal(quantize(x, affine).dequantize(), theirs)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_scales_of_the_four_integer_grids(bits: int) -> None:
    low, high = torch.tensor([-3.0, 0.5, -1.0]), torch.tensor([2.0, 4.0, -0.25])
    steps = 2**bits - 1
    half = 2 ** (bits - 1)

    def scale(grid: str) -> list[float]:
        return Integers(bits=bits, grid=grid).hold(low, high)["scale"].tolist()  # type: ignore[arg-type]

    assert scale("narrow") == pytest.approx([3 / (half - 1), 4 / (half - 1), 1 / (half - 1)])
    assert scale("full") == pytest.approx([6 / steps, 8 / steps, 2 / steps])
    assert scale("unclipped") == pytest.approx([max(3 / half, 2 / (half - 1)), 4 / (half - 1), 1 / half])
    assert scale("affine") == pytest.approx([5 / steps, 4 / steps, 1 / steps])  # 0 is inside


@settings(max_examples=30)
@given(seed=st.integers(0, 200), bits=st.integers(2, 8), shift=st.floats(-3, 3))
def test_affine_integers_hold_zero_and_err_by_half_a_step(seed: int, bits: int, shift: float) -> None:
    x = normal(2, 24, seed=seed) + shift
    x[:, 0] = 0
    q = quantize(x, Integers(bits=bits, grid="affine"))
    y = q.dequantize()
    assert (y[:, 0] == 0).all()
    # the zero is rounded to an integer, so that an end of the range may be off by half a step more
    assert ((y - x).abs() <= q.held["scale"][:, None] * 1.0001).all()


def test_the_greatest_number_is_clipped_by_half_a_step_on_the_full_grid_alone() -> None:
    x = torch.tensor([[7.5, -1.0]])
    assert quantize(x, named("int4-full")).dequantize().tolist() == [[7.0, -1.0]]
    assert quantize(x, named("int4-narrow")).dequantize()[0, 0] == pytest.approx(7.5)
    assert quantize(x, named("int4-unclipped")).dequantize()[0, 0] == pytest.approx(7.5)


def test_levels_of_nf4_are_those_of_the_paper() -> None:
    paper = [  # Dettmers et al. 2023, appendix E
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
        -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
        0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
        0.7229568362236023, 1.0,
    ]  # fmt: skip
    torch.testing.assert_close(nf4(), torch.tensor(paper), atol=2e-7, rtol=0)


def test_double_quantised_scales_err_by_half_a_step_of_theirs() -> None:
    x = normal(64, 640) * torch.linspace(0.5, 3, 64)[:, None]
    single, double = NF4(), NF4(double=True)
    rows = rows_of(x, 64)
    held = double.fit(rows)
    kept = double.scales(held).scale[:, 0]
    exact = single.scales(single.fit(rows)).scale[:, 0]
    step = held["step"].repeat_interleave(256)[: len(exact)]
    assert held["scale"].dtype == torch.int8 and ((kept - exact).abs() <= 0.5001 * step).all()


def nearest_even(x: float, values: list[float]) -> float:
    """The nearest of ``values`` (ascending, from 0), the even one of two; with the sign of x."""
    distances = [abs(abs(x) - v) for v in values]
    best = [i for i, d in enumerate(distances) if d == min(distances)]
    return math.copysign(values[next((i for i in best if i % 2 == 0), best[0])], x)


def test_fp4_rounds_to_the_nearest_and_ties_to_even() -> None:
    x = torch.linspace(-8, 8, 513)  # every tie is among them
    ours = MX().nearest(x[None], MX().scales({"scale": torch.tensor([127], dtype=torch.uint8)}))[0]
    assert ours.tolist() == [nearest_even(v, E2M1) for v in x.tolist()]


def test_every_power_of_two_that_mx_can_keep() -> None:
    codes = torch.arange(255, dtype=torch.uint8)
    assert MX().scales({"scale": codes}).scale[:, 0].tolist() == [2.0 ** (int(e) - 127) for e in codes]


@pytest.mark.parametrize(("element", "largest"), [("e2m1", 6), ("e4m3", 448), ("e5m2", 57344)])
def test_mx_scales(element: str, largest: float) -> None:
    tops = [1.0, 1.999, 2.0, 6.0, 6.001, 7.999, 0.1, 1e-30]
    for rounding in ("floor", "ceil"):
        format = MX(element=element, rounding=rounding)  # type: ignore[arg-type]
        top = torch.tensor(tops)
        kept = format.scales(format.hold(-top, top)).scale[:, 0].tolist()
        if rounding == "floor":
            wanted = [2.0 ** (math.floor(math.log2(t)) - math.floor(math.log2(largest))) for t in tops]
        else:
            wanted = [2.0 ** math.ceil(math.log2(float(np.float32(t)) / largest)) for t in tops]
        assert kept == wanted


def test_nvfp4_keeps_e4m3_scales_below_their_largest() -> None:
    x = normal(4, 64) * torch.tensor([1e-3, 1, 10, 1e3])[:, None]
    q = quantize(x, NVFP4())
    small = q.held["scale"].view(torch.float8_e4m3fn).float()
    top = rows_of(x, 16).abs().amax(dim=1)
    torch.testing.assert_close(q.held["tensor"], x.abs().max() / 2688)
    assert small.max() == 448
    # e4m3 has three bits after the point: half a step is 1/16 of a number, 2⁻¹⁰ of small ones
    exact = top / 6 / q.held["tensor"]
    assert ((small - exact).abs() <= torch.maximum(exact / 16, torch.tensor(2.0**-9)) + 1e-6).all()
    whole = NVFP4().fixed(x)
    assert torch.equal(quantize(x[2:3], whole).dequantize(), q.dequantize()[2:3])


def test_fp8_saturates() -> None:
    for element, largest in (("e4m3", 448.0), ("e5m2", 57344.0)):
        format = FP8(element=element)  # type: ignore[arg-type]
        scales = format.scales({"scale": torch.ones(1)})
        assert format.nearest(torch.tensor([[1e9, -1e9]]), scales).tolist() == [[largest, -largest]]


def test_ternary_is_the_formula_of_the_paper() -> None:
    w = normal(16, 48)
    gamma = w.abs().mean()
    wanted = gamma * (w / gamma).round().clamp(-1, 1)
    torch.testing.assert_close(quantize(w, Ternary()).dequantize(), wanted)


def test_stretched_levels() -> None:
    for levels, values in ((4, [-0.75, -0.25, 0.25, 0.75]), (3, [-2 / 3, 0, 2 / 3])):
        format = Stretched(levels=levels)  # type: ignore[arg-type]
        x = torch.linspace(-1, 1, 401)[None]
        found = quantize(x, format).dequantize().unique()
        torch.testing.assert_close(found, torch.tensor(values))


# Bits a number of a tensor (64, 512): b of the code, and what its scales take.
BITS = {
    ("int4", 32): 4 + 32 / 32, ("int8", 128): 8 + 32 / 128, ("int3", 128): 3 + 32 / 128,
    ("int2", 32): 2 + 32 / 32, ("int4-affine", 32): 4 + 36 / 32, ("int3-affine", 64): 3 + 35 / 64,
    ("nf4", 64): 4 + 32 / 64, ("nf4-double", 64): 4 + 8 / 64 + 32 / (64 * 256) + 32 / 32768,
    ("mxfp4", None): 4 + 8 / 32, ("mxfp8-e4m3", None): 8.25, ("nvfp4", None): 4 + 8 / 16 + 32 / 32768,
    ("fp8-e4m3", "tensor"): 8 + 32 / 32768, ("ternary", "tensor"): 8 * 6554 / 32768 + 32 / 32768,
}  # fmt: skip


@pytest.mark.parametrize(("name", "per"), BITS)
def test_bytes_are_as_told(name: str, per: str | int | None) -> None:
    q = quantize(normal(64, 512), named(name, per))
    assert q.bits == pytest.approx(BITS[name, per], abs=1e-12)
    assert q.bytes == sum(t.untyped_storage().nbytes() for t in (q.codes, *q.held.values()))


def test_scales_of_sixteen_bits() -> None:
    """b + 16/g bits, and what is divided by is the scale that is kept."""
    x = normal(64, 512)
    for dtype in (torch.float16, torch.bfloat16):
        for group, bits in ((32, 4.5), (128, 4.125)):
            q = quantize(x, Integers(bits=4, per=group, scale_type=dtype))
            assert q.bits == bits
            s = q.held["scale"].float()[:, None]
            wanted = s * (rows_of(x, group) * (1 / s)).round().clamp(-7, 7)
            assert torch.equal(rows_of(q.dequantize(), group), wanted)
    tiny = quantize(torch.full((1, 4), 1e-9), Integers(bits=4, scale_type=torch.float16))
    assert torch.isfinite(tiny.dequantize()).all()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: quantize(normal(4, 48), named("int4", 32)),
            r"groups of 32 do not divide .* 48 numbers.*1, 2, 3",
        ),
        (lambda: quantize(normal(4, 48), named("mxfp4")), r"groups of 32 do not divide"),
        (lambda: named("int5-slim"), r"int5-slim is no format; did you mean int5-full"),
        (lambda: named("int1"), r"int1 is no format; did you mean int8"),
        (lambda: named("nvfp4", 32), r"nvfp4 has groups of 16 by definition"),
        (lambda: Integers(bits=9), r"bits = 9 .* allowed: 2 to 8"),
        (lambda: Integers(bits=4, grid="wide"), r"grid = 'wide' is none of narrow"),  # type: ignore[arg-type]
        (
            lambda: quantize(torch.tensor([[1.0, float("nan")]]), named("int8")),
            r"1 of 2 numbers are infinite or",
        ),
        (
            lambda: quantize(torch.tensor([[1e6]]), Integers(bits=2, scale_type=torch.float16)),
            r"a scale of 1e\+06 is above float16's 65504",
        ),
    ],
)
def test_what_cannot_be_gets_a_sentence(call, sentence: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=sentence):
        call()
