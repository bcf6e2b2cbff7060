"""Attention by PyTorch's fused kernels, called so that one of them takes the call.

``scaled_dot_product_attention`` has several kernels and takes the first that can do what it is asked; the
last can do everything, and writes all scores out. ``plan`` says how to ask so that a GPU takes another.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple

import torch
import torch.nn.functional as F

from danlu.nn.derivatives import once_only
from danlu.nn.masks import MaskPattern, boolean_mask

# The device that PyTorch's meta device, which computes nothing, stands for when costs are told.
META: ContextVar[str] = ContextVar("meta stands for", default="cpu")

# PyTorch's kernels under scaled_dot_product_attention, by the number that torch._fused_sdp_choice gives.
FUSED = {0: "math", 1: "flash", 2: "efficient", 3: "cudnn"}


class Plan(NamedTuple):
    """How PyTorch's fused attention is called, and what then runs.

    ``expand``: keys and values are repeated for every query head, in place of ``enable_gqa``. ``multiple``:
    the sizes of heads are filled up with zeros to a multiple of it. ``allowed``: the kernels, names of
    ``FUSED``, of which PyTorch then takes one; ``math``, which writes all scores out, only where there is no
    other. ``why`` says it in words.
    """

    expand: bool
    multiple: int
    allowed: tuple[str, ...]
    why: str


def plan(
    device: str,
    dtype: torch.dtype,
    *,
    masked: bool,
    gqa: bool,
    sizes: tuple[int, int],
    deterministic: bool,
) -> Plan:
    """The call of ``scaled_dot_product_attention`` that reaches a fused kernel on ``device``.

    ``masked``: a mask or a bias is passed; ``gqa``: there are fewer heads of keys than of queries; ``sizes``:
    of a head of the queries (and keys) and of the values; ``deterministic``: as
    ``torch.use_deterministic_algorithms``.

    What PyTorch 2.11 to 2.13 ask (``sdp_utils.cpp``) on GPUs from compute capability 8.0 on: flash takes
    half precision without a mask, equal sizes up to 256, and shared keys; cudnn takes half precision and is
    never deterministic; efficient takes a mask, float32 and every size of a multiple of 16 bytes, but no
    shared keys. On other devices the call stays as it is.
    """
    if device != "cuda":
        return Plan(False, 1, ("flash", "math"), f"PyTorch's own choice on {device}")
    if dtype not in (torch.float32, torch.bfloat16, torch.float16):
        name = str(dtype).removeprefix("torch.")
        return Plan(False, 1, ("math",), f"no fused kernel of a GPU takes {name}")
    half = dtype != torch.float32
    multiple = 8 if half else 4
    size, value_size = (-(-n // multiple) * multiple for n in sizes)
    flash = half and not masked and size == value_size <= 256
    if flash and not deterministic:
        why = "half precision without a mask: flash shares keys among heads"
        return Plan(False, multiple, ("flash", "cudnn"), why)
    causes = {
        "float32": not half,
        "a mask": masked,
        "deterministic algorithms": deterministic,
        f"heads of {size} and {value_size}": half and not masked and not flash,
    }
    why = f"{' and '.join(cause for cause, on in causes.items() if on)}: the efficient kernel is needed"
    if gqa:
        why += ", which shares no keys, so they are repeated for every head"
    allowed = (*["flash"] * flash, *["cudnn"] * (half and not deterministic), "efficient")
    return Plan(gqa, multiple, allowed, why)


def fused(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float,
    pattern: MaskPattern,
    different: torch.Tensor | None,
    bias: torch.Tensor | None,
    masked: bool,
) -> torch.Tensor:
    """Attention by PyTorch's kernel, arguments as those of ``danlu.nn.attend``. ``different``: (B, T, S),
    True where query and key are of different documents; ``masked``: whether ``pattern`` and ``different``
    hide more than the triangle that the kernel knows."""
    mask = boolean_mask(pattern, q.device) if masked or bias is not None else None
    if mask is not None and different is not None:
        mask = (mask & ~different)[:, None]
    if mask is not None and bias is not None:
        # One for all sequences where it is the same: PyTorch broadcasts it without a copy.
        mask = bias.to(q.dtype).reshape((1,) * (4 - bias.ndim) + bias.shape).masked_fill(~mask, float("-inf"))
    size, repeat = v.shape[-1], q.shape[1] // k.shape[1]
    how = plan(
        META.get() if q.is_meta else q.device.type,
        q.dtype,
        masked=mask is not None,
        gqa=repeat > 1,
        sizes=(q.shape[-1], size),
        deterministic=torch.are_deterministic_algorithms_enabled(),
    )
    if how.expand:
        k, v = k.repeat_interleave(repeat, dim=1), v.repeat_interleave(repeat, dim=1)
    q, k, v = (filled(t, how.multiple) for t in (q, k, v))
    if q.is_meta:
        made = _outline(q, k, v, mask, how)
        if made is not None:
            return first(made, size)
    y = F.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=mask,
        is_causal=mask is None and not pattern.full,
        scale=scale,
        enable_gqa=repeat > 1 and not how.expand,
    )
    return first(once_only(y, q, k, v), size)


def filled(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """``x`` with zeros after its last dimension, up to a multiple: they add nothing to a product."""
    return F.pad(x, (0, -x.shape[-1] % multiple)) if x.shape[-1] % multiple else x


def first(x: torch.Tensor, size: int) -> torch.Tensor:
    """The first numbers of the last dimension; ``x`` itself where there are no others."""
    return x if x.shape[-1] == size else x[..., :size]


def _outline(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, how: Plan
) -> torch.Tensor | None:
    """On the meta device: what the fused kernel returns and keeps for its backward pass; None where PyTorch
    would write the scores out after all. Left to itself it always does so there."""
    if mask is not None and mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, dtype=q.dtype, device=q.device)
    if q.shape[-1] == v.shape[-1] and not (mask is not None and mask.requires_grad):
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, attn_mask=mask)[0]
    if "math" in how.allowed:
        return None
    return torch.ops.aten._scaled_dot_product_efficient_attention(q, k, v, mask, True)[0]
