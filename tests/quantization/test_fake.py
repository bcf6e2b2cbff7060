"""Straight-through, learned scales: against PyTorch's operators, the papers' formulas, and real integers."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from danlu.quantization import (
    FORMATS,
    LSQ,
    PACT,
    Integers,
    ParetoQ,
    Quantized,
    Ternary,
    fake_quantize,
    integer_linear,
    named,
    nf4,
    quantize,
)
from danlu.quantization.products import filled


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gradients(y: torch.Tensor, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """Of Σ dy·y for one fixed dy."""
    return list(torch.autograd.grad((y * normal(*y.shape, seed=9)).sum(), inputs))


@pytest.mark.parametrize("name", FORMATS)
def test_fake_is_real_bit_for_bit(name: str) -> None:
    x = normal(6, 4, 64) * 3
    format = FORMATS[name]
    assert torch.equal(fake_quantize(x, format), quantize(x, format).dequantize())
    low = x.bfloat16()
    assert torch.equal(fake_quantize(low, format), quantize(low.float(), format).dequantize().bfloat16())


@pytest.mark.parametrize("grid", ["narrow", "full", "affine"])
def test_straight_through_masks_as_pytorch(grid: str) -> None:
    """By the rounded number: −8.5 steps pass (they round to −8), 7.5 do not (8)."""
    format = Integers(bits=4, grid=grid, per="tensor")  # type: ignore[arg-type]
    x = torch.cat((normal(2000) * 4, torch.tensor([-8.5, -7.5, 7.5, 6.5, -8.6]) * 0.5)).requires_grad_()
    zero = 3 if grid == "affine" else 0
    held = {"scale": torch.tensor([0.5]), "zero": torch.tensor([zero - format.least], dtype=torch.uint8)}
    ours = fake_quantize(x, format, held)
    theirs = torch.fake_quantize_per_tensor_affine(x, 0.5, zero, format.least, format.greatest)
    (dx,), (wanted,) = gradients(ours, x), gradients(theirs, x)
    assert torch.equal(ours, theirs) and torch.equal(dx, wanted)
    assert 0.05 < (dx == 0).float().mean() < 0.5


def test_scales_taken_from_the_numbers_are_constants() -> None:
    x = normal(3, 32).requires_grad_()
    (dx,) = gradients(fake_quantize(x, named("int4")), x)
    assert torch.equal(dx, normal(3, 32, seed=9))  # nothing is clipped, and amax adds no term


@pytest.mark.parametrize(
    "name", ["fp8-e4m3", "fp8-e5m2", "nf4", "nf4-double", "nvfp4", "mxfp4-ceil", "mxfp8-e4m3-ceil"]
)
def test_the_greatest_number_of_each_scale_has_its_gradient(name: str) -> None:
    """It is at the last level but for the rounding of its scale: x·(1/s) is 448.00003 of one row in five."""
    x = normal(500, 192).requires_grad_()
    (dx,) = gradients(fake_quantize(x, FORMATS[name]), x)
    assert torch.equal(dx, normal(500, 192, seed=9))


@pytest.mark.parametrize(
    ("name", "last", "before", "held"),
    [
        ("mxfp4", 6, 4, {"scale": torch.tensor([127], dtype=torch.uint8)}),
        ("mxfp8-e5m2", 57344, 49152, {"scale": torch.tensor([127], dtype=torch.uint8)}),
        ("fp8-e4m3", 448, 416, {"scale": torch.ones(1)}),
        ("fp8-e5m2", 57344, 49152, {"scale": torch.ones(1)}),
        ("nf4", 1, float(nf4()[-2]), {"scale": torch.ones(1)}),
    ],
)
def test_numbers_are_clipped_from_half_a_step_beyond_the_last_level_on(
    name: str, last: float, before: float, held: dict[str, torch.Tensor]
) -> None:
    format, end = FORMATS[name], last + (last - before) / 2
    levels = format.decode(torch.arange(format.levels, dtype=torch.uint8)[None], format.scales(held))
    levels = levels[levels.isfinite()].unique()
    assert levels[-2:].tolist() == pytest.approx([before, last])
    x = torch.tensor([[0.999 * end, 1.001 * end, -0.999 * end, -1.001 * end]])
    assert format.inside(x, format.scales(held)).tolist() == [[True, False, True, False]]


def test_ternary_passes_all_gradients() -> None:
    x = normal(8, 16).requires_grad_()
    (dx,) = gradients(fake_quantize(x, Ternary()), x)
    assert torch.equal(dx, normal(8, 16, seed=9))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_lsq_agrees_with_pytorchs_operator(bits: int) -> None:
    """Away from the half step beyond either end, where the operator goes by the rounded number."""
    x = normal(4096)
    lsq = LSQ(Integers(bits=bits, grid="full", per="tensor"), x)
    low, high = lsq.format.least, lsq.format.greatest  # type: ignore[union-attr]
    assert lsq.scale.item() == pytest.approx(2 * x.abs().mean().item() / math.sqrt(high))
    v = x / lsq.scale.detach()
    x = x[((v >= low) & (v <= high)) | (v < low - 0.5) | (v > high + 0.5)].requires_grad_()
    scale = lsq.scale.detach().clone().requires_grad_()
    theirs = torch._fake_quantize_learnable_per_tensor_affine(x, scale, torch.zeros(1), low, high, lsq.factor)
    ours = lsq(x)
    torch.testing.assert_close(ours, theirs)
    for mine, wanted in zip(gradients(ours, x, lsq.scale), gradients(theirs, x, scale), strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-6)
    assert lsq.factor == pytest.approx(1 / math.sqrt(4096 * high))


def test_lsq_is_the_papers_formula_everywhere() -> None:
    """Esser et al. 2020, eqs. 1–3, a scale for each row, number by number."""
    x = (normal(5, 200) * 3).requires_grad_()
    lsq = LSQ(Integers(bits=3, grid="full"), x)
    y = lsq(x)
    dx, ds = gradients(y, x, lsq.scale)
    dy = normal(5, 200, seed=9)
    for i, s in enumerate(lsq.scale.tolist()):
        total = 0.0
        for j in range(200):
            v = x[i, j].item() / s
            clipped = min(max(v, -4), 3)
            assert y[i, j].item() == pytest.approx(s * round(clipped), abs=1e-6)
            inside = -4 < v < 3
            assert dx[i, j].item() == (dy[i, j].item() if inside else 0)
            total += dy[i, j].item() * (round(v) - v if inside else clipped)
        assert ds[i].item() == pytest.approx(total / math.sqrt(200 * 3), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("bits", [3, 4])
def test_paretoq_at_three_and_four_bits_is_lsq_from_amax(bits: int) -> None:
    w = normal(6, 64).requires_grad_()
    pareto = ParetoQ(bits, w)  # type: ignore[arg-type]
    top = 2 ** (bits - 1) - 1
    torch.testing.assert_close(pareto.scale.data, w.detach().abs().amax(dim=1) / top)
    lsq = LSQ(Integers(bits=bits, grid="full"), w, count=w.numel())
    lsq.scale.data.copy_(pareto.scale.data)
    for mine, wanted in zip(
        gradients(pareto(w), w, pareto.scale), gradients(lsq(w), w, lsq.scale), strict=True
    ):
        torch.testing.assert_close(mine, wanted)


@pytest.mark.parametrize(("bits", "n", "shift"), [(2, 2.0, 0.5), ("ternary", 1.5, 0.0)])
def test_paretoq_on_stretched_levels_is_its_formula(bits: int | str, n: float, shift: float) -> None:
    """α(round(clip(w/α, ±0.99)·n − shift) + shift)/n and its straight-through derivatives, by autograd."""
    w = normal(6, 64).requires_grad_()
    pareto = ParetoQ(bits, w)  # type: ignore[arg-type]
    torch.testing.assert_close(pareto.scale.data, w.detach().abs().amax(dim=1))
    pareto.scale.data.mul_(0.6)  # so that some are clipped
    alpha = pareto.scale.detach().clone()[:, None].requires_grad_()
    v = w / alpha
    level = ((v.clamp(-0.99, 0.99) * n - shift).round() + shift) / n
    y = level.detach() * alpha
    mine, wanted = gradients(pareto(w), w, pareto.scale), gradients(y, alpha)
    torch.testing.assert_close(pareto(w), y)
    within = (v.abs() <= 0.99).detach()
    dy = normal(6, 64, seed=9)
    torch.testing.assert_close(mine[0], dy * within)
    through = -(dy * v.detach() * within).sum(dim=1)
    torch.testing.assert_close(mine[1], (wanted[0][:, 0] + through) / math.sqrt(6 * 64))
    assert 0.02 < 1 - within.float().mean() < 0.3


@pytest.mark.parametrize("bits", [2, 3, 4, "ternary"])
def test_learned_scales_are_kept_as_they_are(bits: int | str) -> None:
    w = normal(6, 64)
    pareto = ParetoQ(bits, w)  # type: ignore[arg-type]
    pareto.scale.data.mul_(torch.linspace(0.3, 1.1, 6))
    assert torch.equal(pareto.quantize(w).dequantize(), pareto(w))
    pareto.scale.data.fill_(-1.0)  # as an update may leave them
    assert torch.equal(pareto.quantize(w).dequantize(), pareto(w)) and torch.isfinite(pareto(w)).all()


def test_a_learned_scale_finds_less_error_than_it_starts_with() -> None:
    w = normal(4, 256)
    for module in (LSQ(Integers(bits=2, grid="narrow"), w), ParetoQ("ternary", w)):
        optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
        start = (module(w) - w).square().mean()
        for _ in range(100):
            optimizer.zero_grad()
            ((module(w) - w).square().sum() / module.factor).backward()
            optimizer.step()
        assert (module(w) - w).square().mean() < 0.9 * start


def test_pact() -> None:
    """Choi et al. 2018, eqs. 1–3."""
    x = (normal(400) * 2).requires_grad_()
    pact = PACT(3, alpha=1.5)
    y = pact(x)
    clipped = 0.5 * (x.abs() - (x - 1.5).abs() + 1.5)
    torch.testing.assert_close(y, (clipped * (7 / 1.5)).round() * (1.5 / 7))
    dx, dalpha = gradients(y, x, pact.alpha)
    dy = normal(400, seed=9)
    assert torch.equal(dx, dy * ((x >= 0) & (x < 1.5)))
    torch.testing.assert_close(dalpha, (dy * (x >= 1.5)).sum())


@pytest.mark.parametrize("grid", ["narrow", "full", "affine"])
@pytest.mark.parametrize("per", ["token", "tensor"])
def test_products_of_integers_are_those_of_fake_numbers(per: str, grid: str) -> None:
    """Exactly, before the scales: sums of integers in int64; then to float32's rounding."""
    x, w, b = normal(2, 3, 33) + 0.3, normal(7, 33, seed=1), normal(7, seed=2)
    q_x, q_w = quantize(x, Integers(bits=8, grid=grid, per=per)), quantize(w, Integers(bits=8))  # type: ignore[arg-type]
    y = integer_linear(q_x, q_w, b)
    wanted = F.linear(q_x.dequantize().double(), q_w.dequantize().double(), b.double())
    torch.testing.assert_close(y.double(), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "size", "out"), [(1, 33, 7), (16, 64, 8), (17, 8, 9), (40, 24, 16), (41, 24, 16)]
)
def test_factors_are_filled_as_cublas_wants_them(rows: int, size: int, out: int) -> None:
    """More than 16 rows, and sizes that are multiples of 8 (``_int_mm_out_cuda``), with the same sums."""
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randint(-128, 128, (n, size), dtype=torch.int8, generator=draw) for n in (rows, out))
    x, w = filled(a, 32), filled(b)
    assert len(x) > 16 and not any(n % 8 for n in (*x.shape, *w.shape)) and x.shape[1] == w.shape[1]
    assert torch.equal((x.int() @ w.int().T)[:rows, :out], a.int() @ b.int().T)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_products_of_integers_bit_for_bit(bits: int) -> None:
    """With powers of two for scales, all numbers are exact in float32, fake ones too."""
    x, w = normal(5, 64) * 20, normal(6, 64, seed=1) * 20
    format_x, format_w = Integers(bits=8, grid="affine", per="token"), Integers(bits=bits, grid="full")
    zero = torch.tensor([120, 128, 131, 0, 255], dtype=torch.uint8)
    held_x, held_w = {"scale": torch.full((5,), 0.25), "zero": zero}, {"scale": torch.full((6,), 0.5)}
    fake = F.linear(fake_quantize(x, format_x, held_x), fake_quantize(w, format_w, held_w))

    def real(x: torch.Tensor, format: Integers, held: dict[str, torch.Tensor]) -> Quantized:
        return Quantized.of(format.encode(x, format.scales(held)), held, format, tuple(x.shape))

    assert torch.equal(integer_linear(real(x, format_x, held_x), real(w, format_w, held_w)), fake)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: LSQ(Integers(bits=4, grid="affine"), torch.ones(2, 4)),
            r"grid = affine .* use narrow or full",
        ),
        (lambda: ParetoQ(5, torch.ones(2, 4)), r"bits = 5 of ParetoQ; allowed: 2, 3, 4, ternary"),  # type: ignore[arg-type]
        (lambda: PACT(4, 0.0), r"alpha = 0.0 of PACT; allowed: above 0"),
        (
            lambda: integer_linear(
                quantize(torch.ones(2, 8), named("int8", "token")),
                quantize(torch.ones(2, 8), named("int4", 4)),
            ),
            r"weight has the format int4-narrow per 4; allowed .* per channel or token or tensor",
        ),
        (
            lambda: integer_linear(
                quantize(torch.ones(2, 8), named("int8", "token")),
                quantize(torch.ones(2, 8), named("int4-affine")),
            ),
            r"weight has the grid affine",
        ),
    ],
)
def test_what_cannot_be_gets_a_sentence(call, sentence: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=sentence):
        call()
