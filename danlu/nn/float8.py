"""Matrix products in eight bits: one scale a tensor, e4m3 forward, e5m2 for the gradients of outputs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
TILE = 16  # sizes of a product must be multiples of it


def missing(device: torch.device) -> str:
    """Why ``device`` multiplies no 8-bit floating point; nothing where it does. A small product is tried."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 9):
        return "it has none (compute capability 8.9 or later is needed: Ada, Hopper)"
    try:
        x = torch.ones(TILE, TILE, device=device)
        product(*cast(x, E4M3), *cast(x, E4M3), torch.float32)
    except (RuntimeError, NotImplementedError) as error:
        return str(error).strip().splitlines()[0]
    return ""


def cast(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """``x`` in eight bits, and the scale (float32, a scalar) that it must be multiplied by: amax over the
    type's largest number (Micikevicius et al. 2022, arXiv:2209.05433). What is beyond is cut off first, since
    a cast makes infinities of it."""
    largest = torch.finfo(dtype).max
    scale = (x.detach().abs().amax().float() / largest).clamp(min=torch.finfo(torch.float32).tiny)
    return (x.float() / scale).clamp(-largest, largest).to(dtype), scale


def product(a: Tensor, of_a: Tensor, b: Tensor, of_b: Tensor, dtype: torch.dtype) -> Tensor:
    """a bᵀ of (M, K) and (N, K) in eight bits with their scales: (M, N) in ``dtype``, added up in float32."""
    return torch._scaled_mm(a, b.t(), scale_a=of_a, scale_b=of_b, out_dtype=dtype)


def fits(x: Tensor, weight: Tensor) -> bool:
    """Whether the sizes of x (…, in) and weight (out, in) can be multiplied in eight bits."""
    return all(size % TILE == 0 for size in (x.numel() // max(x.shape[-1], 1), *weight.shape))


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x Wᵀ in the type of ``x``, products in eight bits forward and backward; as ``F.linear`` where a size is
    no multiple of 16. Shapes: (…, in), (out, in) → (…, out)."""
    if not fits(x, weight):
        return F.linear(x, weight.to(x.dtype))
    flat: Tensor = _Linear.apply(x.reshape(-1, x.shape[-1]), weight)
    return flat.view(*x.shape[:-1], weight.shape[0])


class _Linear(torch.autograd.Function):
    """y = x Wᵀ; ∂x = ∂y W, ∂W = ∂yᵀ x, each of two 8-bit tensors."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        (a, of_a), (w, of_w) = cast(x, E4M3), cast(weight, E4M3)
        ctx.save_for_backward(a, of_a, w, of_w)
        ctx.types = x.dtype, weight.dtype
        return product(a, of_a, w, of_w, x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        a, of_a, w, of_w = ctx.saved_tensors
        e, of_e = cast(g, E5M2)
        of_x, of_weight = ctx.types
        dx = product(e, of_e, w.t().contiguous(), of_w, of_x)
        dw = product(e.t().contiguous(), of_e, a.t().contiguous(), of_a, of_weight)
        return dx, dw
