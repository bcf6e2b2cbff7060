"""GPTQ against its identities and against an implementation of its own by plain elimination."""

from __future__ import annotations

import pytest
import torch

from danlu.quantization import Moments, gptq, named, quantize, relative_error


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs(count: int = 400, size: int = 48, seed: int = 1) -> torch.Tensor:
    """Correlated, as activations are."""
    return normal(count, size, seed=seed) @ (normal(size, size, seed=seed + 1) + 2 * torch.eye(size))


def hessian(x: torch.Tensor) -> torch.Tensor:
    moments = Moments(x.shape[1])
    for part in x.split(100):
        moments.add(part[None])
    return moments.hessian


@pytest.mark.parametrize("order", [False, True])
@pytest.mark.parametrize(
    ("name", "per"),
    [
        ("int4-narrow", "channel"), ("int3-affine", 16), ("int2-full", "tensor"), ("nf4", 24),
        ("nf4-double", 12), ("mxfp4", None), ("nvfp4", None), ("fp8-e4m3", "channel"), ("ternary", "tensor"),
    ],
)  # fmt: skip
def test_with_the_identity_for_a_hessian_it_rounds_to_the_nearest(
    name: str, per: str | int, order: bool
) -> None:
    w, format = normal(10, 96), named(name, per)
    ours = gptq(w, torch.eye(96), format, order=order, block=20).quantized
    nearest = quantize(w, format)
    assert torch.equal(ours.dequantize(), nearest.dequantize()) and torch.equal(ours.codes, nearest.codes)
    assert ours.bytes == nearest.bytes and ours.format == nearest.format


@pytest.mark.parametrize("order", [False, True])
@pytest.mark.parametrize(("name", "per"), [("int3-narrow", "channel"), ("int2-affine", 8), ("nvfp4", None)])
def test_the_sum_of_squares_is_the_error_of_the_outputs(name: str, per: str | int, order: bool) -> None:
    """Σe² = tr(ΔW H̃ ΔWᵀ), and it is less than that of rounding to the nearest."""
    w, h, format = normal(10, 48), hessian(inputs()), named(name, per)
    damped = h + 0.01 * h.diagonal().mean() * torch.eye(48).double()
    ours = gptq(w, h, format, order=order)

    def trace(quantized: torch.Tensor) -> float:
        d = quantized.double() - w.double()
        return float(((d @ damped) * d).sum())

    assert ours.error == pytest.approx(trace(ours.quantized.dequantize()), rel=1e-9)
    assert ours.error < 0.8 * trace(quantize(w, format).dequantize())


@pytest.mark.parametrize("per", ["channel", 8, 16])
def test_blocks_change_nothing(per: str | int) -> None:
    w, h, format = normal(10, 48), hessian(inputs()), named("int3", per)
    whole, *others = (gptq(w, h, format, block=block).quantized.dequantize() for block in (64, 1, 5, 12))
    assert all(torch.equal(whole, other) for other in others)


def test_it_is_elimination() -> None:
    """Optimal Brain Surgeon's update with the inverse Hessian, of which a row and column are eliminated after
    each weight (Frantar et al. 2023, eqs. 2 and 3)."""
    w, h, format = normal(6, 24), hessian(inputs(size=24)), named("int3-narrow")
    inverse = torch.linalg.inv(h + 0.01 * h.diagonal().mean() * torch.eye(24).double())
    rest, wanted = w.double().clone(), torch.zeros(6, 24)
    scale = (w.abs().amax(dim=1) / 3)[:, None]
    for i in range(24):
        q = (scale * (rest[:, i : i + 1].float() * (1 / scale)).round().clamp(-3, 3)).double()
        wanted[:, i] = q[:, 0].float()
        error = (rest[:, i : i + 1] - q) / inverse[i, i]
        rest -= error * inverse[i]
        inverse = inverse - inverse[:, i : i + 1] * inverse[i] / inverse[i, i]
    assert torch.equal(gptq(w, h, format).quantized.dequantize(), wanted)


def test_groups_take_their_scales_when_they_are_reached() -> None:
    """The second group's scales are those of the columns as the first group left them."""
    w, h, format = normal(6, 24), hessian(inputs(size=24)), named("int2", 12)
    found = gptq(w, h, format, block=7)
    assert found.quantized.held["scale"].view(6, 2)[:, 0].tolist() == pytest.approx(
        (w[:, :12].abs().amax(dim=1)).tolist()
    )
    damped = h + 0.01 * h.diagonal().mean() * torch.eye(24).double()
    q = found.quantized.dequantize().double()[:, :12]
    # with the first columns fixed, the best others are w₂ + (w₁ − q₁)H₁₂H₂₂⁻¹
    moved = w[:, 12:].double() + (w[:, :12].double() - q) @ damped[:12, 12:] @ torch.linalg.inv(
        damped[12:, 12:]
    )
    scales = found.quantized.held["scale"].view(6, 2)[:, 1]
    torch.testing.assert_close(scales, moved.abs().amax(dim=1).float())


def test_a_dead_input_has_no_weight() -> None:
    x = inputs()
    x[:, [3, 17]] = 0
    q = gptq(normal(10, 48), hessian(x), named("int4")).quantized.dequantize()
    assert (q[:, [3, 17]] == 0).all() and (q[:, 4] != 0).any()


def test_moments_are_the_mean_of_outer_products() -> None:
    x = inputs()
    torch.testing.assert_close(hessian(x), 2 * x.double().T @ x.double() / 400)


def test_more_inputs_than_tokens() -> None:
    h = hessian(inputs(count=20))
    with pytest.raises(
        ValueError, match=r"damp = 0: .* not positive definite; raise damp to 0.1, or give more"
    ):
        gptq(normal(10, 48), h - 1e-9 * torch.eye(48), named("int4"), damp=0)
    w = normal(10, 48)
    assert relative_error(w, gptq(w, h, named("int4"), damp=0.1).quantized.dequantize()) < 1


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"hessian of shape \(3, 3\) for 48 inputs"):
        gptq(normal(10, 48), torch.eye(3), named("int4"))
    with pytest.raises(ValueError, match="groups of 32 do not divide"):
        gptq(normal(10, 48), torch.eye(48), named("int4", 32))
