"""SmoothQuant and AWQ: channels rescaled, so that rounding costs less."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from danlu.quantization.calls import Call, watch
from danlu.quantization.formats import Format, rows_of
from danlu.quantization.seams import Seam


def smoothquant_scales(x_amax: Tensor, weights: Sequence[Tensor], alpha: float = 0.5) -> Tensor:
    """s_j = amax|X_j|^α / amax|W_j|^(1−α), at least 1e-5 (Xiao et al. 2023, eq. 4): what activations are to
    be divided by and weights multiplied with. α = 1 takes all the difficulty from the activations.

    ``x_amax`` (channels,): of the activations; ``weights`` (out, channels): of every map that reads them.
    Channels without weights or activations get 1. Gives (channels,).
    """
    w_amax = torch.stack([w.abs().amax(dim=0) for w in weights]).amax(dim=0)
    s = x_amax.pow(alpha) / w_amax.to(x_amax).pow(1 - alpha)
    return torch.where((x_amax > 0) & (w_amax > 0), s, 1.0).clamp(min=1e-5)


@torch.no_grad()
def smooth(seams: Sequence[Seam], calls: Sequence[Call], block: nn.Module, alpha: float = 0.5) -> None:
    """Rescale ``seams`` of ``block`` by SmoothQuant's rule, from the activations of ``calls``, in place. The
    function stays as it was."""
    amaxes: dict[nn.Module, Tensor] = {}

    def see(reader: nn.Module, x: Tensor) -> None:
        now = x.reshape(-1, x.shape[-1]).abs().amax(dim=0)
        amaxes[reader] = torch.maximum(amaxes[reader], now) if reader in amaxes else now

    watch(block, calls, [seam.readers[0] for seam in seams], see)
    for seam in seams:
        seam.rescale(smoothquant_scales(amaxes[seam.readers[0]], [r.weight for r in seam.readers], alpha))


@torch.no_grad()
def awq(seams: Sequence[Seam], calls: Sequence[Call], block: nn.Module, format: Format) -> dict[str, float]:
    """Rescale ``seams`` of ``block`` by AWQ's search (Lin et al. 2024, eqs. 4–5, and the authors' code), in
    place: s = x̄^α/√(max·min), x̄ the mean |x| of a channel, of α = 0, 0.05, … 0.95 the one whose rounded
    weights, quant(W·s)/s, change the output of ``seam.inside`` least. Gives α by the seam's name.

    The function stays as it was; rounding is for the caller to do.
    """
    return {seam.name: _search(seam, calls, block, format) for seam in seams}


def _search(seam: Seam, calls: Sequence[Call], block: nn.Module, format: Format) -> float:
    inputs: list[Tensor] = []
    inside: dict[nn.Module, list[tuple[Any, Any, Tensor]]] = {module: [] for module in seam.inside}

    def keep(module: nn.Module, args: Any, kwargs: Any, y: Tensor) -> None:
        inside[module].append((args, kwargs, y))

    hooks = [m.register_forward_hook(keep, with_kwargs=True) for m in seam.inside]
    try:
        watch(block, calls, [seam.readers[0]], lambda _, x: inputs.append(x.abs().flatten(0, -2)))
    finally:
        for hook in hooks:
            hook.remove()
    mean = torch.cat(inputs).mean(dim=0)
    weights = [reader.weight.detach().clone() for reader in seam.readers]
    best, found, best_s = float("inf"), 0.0, torch.ones_like(mean)
    for alpha in (i / 20 for i in range(20)):
        s = mean.pow(alpha).clamp(min=1e-4)
        s = s / (s.max() * s.min()).sqrt()
        for reader, weight in zip(seam.readers, weights, strict=True):
            rows = rows_of(weight * s, format.per)
            rounded = format.nearest(rows, format.scales(format.fit(rows))).view_as(weight)
            reader.weight.copy_(rounded / s)
        loss = sum(
            float((module(*args, **kwargs) - y).square().sum())
            for module, seen in inside.items()
            for args, kwargs, y in seen
        )
        if loss < best:
            best, found, best_s = loss, alpha, s
    for reader, weight in zip(seam.readers, weights, strict=True):
        reader.weight.copy_(weight)
    seam.rescale(best_s)
    return found
