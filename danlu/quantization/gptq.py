"""GPTQ: columns are rounded one after another, and each one's error is made up for by those to come."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from danlu.quantization.floats import NF4
from danlu.quantization.formats import Format, Held, Ranges, Scales, rows_of
from danlu.quantization.quantized import Quantized


class Moments:
    """H = (2/n)·Σxxᵀ over n inputs x of a linear map, float64: the Hessian of the mean of ‖Ŵx − Wx‖² by each
    row of Ŵ."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self._sum = torch.zeros(size, size, dtype=torch.float64)

    @torch.no_grad()
    def add(self, x: Tensor) -> None:
        """Inputs (…, size)."""
        x = x.reshape(-1, x.shape[-1]).double()
        self._sum = self._sum.to(x.device).addmm_(x.T, x)
        self.count += len(x)

    @property
    def hessian(self) -> Tensor:
        """H (size, size)."""
        return self._sum * (2 / max(self.count, 1))


class Rounded(NamedTuple):
    """``quantized``, the weight; ``error``, Σe² = tr(ΔW H̃ ΔWᵀ), H̃ being H with its diagonal damped."""

    quantized: Quantized
    error: float


@torch.no_grad()
def gptq(
    weight: Tensor,
    hessian: Tensor,
    format: Format,
    *,
    damp: float = 0.01,
    order: bool = False,
    block: int = 128,
    ranges: Ranges | None = None,
) -> Rounded:
    """``weight`` (out, in) in ``format``, its outputs as they were as nearly as can be (Frantar et al. 2023,
    algorithm 1).

    With H + damp·mean(diag H)·I = (UᵀU)⁻¹, U upper triangular: for each column i, q = round(w_i),
    e = (w_i − q)/U_ii, and W[:, i:] −= e·U[i, i:], later blocks of ``block`` columns at the block's end. All
    in float64. Inputs that are always 0 have their columns set to 0.

    ``hessian``: H (in, in), of ``Moments``. ``order``: columns in order of falling H_ii ("act-order").
    Scales of groups of columns are taken when a group is reached, from the weight as it is by then; with
    ``order``, and for nf4-double, from the weight as it was. Raises ValueError where H̃ is not positive
    definite.
    """
    out, size = weight.shape
    if hessian.shape != (size, size):
        shape = tuple(hessian.shape)
        raise ValueError(f"hessian of shape {shape} for {size} inputs; allowed: ({size}, {size})")
    type_ = torch.promote_types(weight.dtype, torch.float32)
    w, h = weight.double().clone(), hessian.to(weight.device, torch.float64, copy=True)
    dead = h.diagonal() == 0
    h.diagonal()[dead] = 1
    w[:, dead] = 0
    h.diagonal().add_(damp * h.diagonal().mean())
    columns = torch.arange(size, device=w.device)
    if order:
        columns = h.diagonal().argsort(descending=True, stable=True)
        w, h = w[:, columns], h[columns][:, columns]
    u = _inverse_factor(h, damp)

    group = format.per if isinstance(format.per, int) else size
    rows_of(weight, format.per)  # refuses groups that do not divide
    given, format = format, format.fixed(weight)
    whole = order or format.per == "tensor" or (isinstance(format, NF4) and format.double)
    held: list[Held] = []
    if whole or group == size:
        held.append(format.fit(rows_of(weight.masked_fill(dead, 0).to(type_), format.per), ranges))
    codes = torch.empty(out, size, dtype=torch.uint8, device=w.device)
    error = 0.0
    now = _of_group(format, held[0], out, 0) if held else None
    for start in range(0, size, block):
        stop = min(start + block, size)
        errors = torch.empty(out, stop - start, dtype=torch.float64, device=w.device)
        for i in range(start, stop):
            column = int(columns[i])
            if held and whole:
                now = _of_group(format, held[0], out, column // group)
            elif group != size and i % group == 0:
                # the part of the group in later blocks is not yet corrected for errors in this one
                late = w[:, i : i + group].clone()
                if i + group > stop and i > start:
                    late[:, stop - i :] -= errors[:, : i - start] @ u[start:i, stop : i + group]
                held.append(format.fit(late.to(type_), ranges))
                now = format.scales(held[-1])
            assert now is not None
            x = w[:, i : i + 1]
            code = format.encode(x.to(type_), now)
            codes[:, column] = code[:, 0]
            e = (x - format.decode(code, now).double()) / u[i, i]
            error += float(e.square().sum())
            w[:, i:stop] -= e * u[i, i:stop]
            errors[:, i - start] = e[:, 0]
        w[:, stop:] -= errors @ u[start:stop, stop:]
    kept = held[0] if len(held) == 1 else _together(held)
    return Rounded(Quantized.of(rows_of(codes, format.per), kept, given, tuple(weight.shape)), error)


def _inverse_factor(h: Tensor, damp: float) -> Tensor:
    """U, upper triangular, with H⁻¹ = UᵀU."""
    factor, failed = torch.linalg.cholesky_ex(h)
    if not failed:
        factor, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(factor), upper=True)
    if failed or not torch.isfinite(factor).all():
        raise ValueError(
            f"damp = {damp}: the inputs' moments are not positive definite; raise damp to 0.1, or give more "
            "tokens than the map has inputs"
        )
    return factor


def _of_group(format: Format, held: Held, out: int, group: int) -> Scales:
    """The scales of one group of columns, (out, 1) or (1, 1), of those of a whole weight."""
    scale, zero = format.scales(held)

    def of(x: Tensor) -> Tensor:
        return x if x.shape[0] in (1, out) else x.view(out, -1)[:, group : group + 1]

    return Scales(of(scale), None if zero is None else of(zero))


def _together(held: list[Held]) -> Held:
    """What groups hold, one after another, as one weight's: its rows are the groups of the first output, then
    those of the second."""
    return {
        name: torch.stack([one[name] for one in held], dim=1).flatten() if first.ndim else first
        for name, first in held[0].items()
    }
