"""The linear recurrence h_t = a⊙h_{t−1} + b_t over all positions at once."""

from __future__ import annotations

from typing import Any

import torch

from danlu.nn.derivatives import transformed

# Positions of a chunk. 16 to 64 were measured alike on the CPU at 128 to 32k positions, 128 slower.
CHUNK = 32


def scan(a: torch.Tensor, b: torch.Tensor, start: torch.Tensor | None = None) -> torch.Tensor:
    """h_t = a⊙h_{t−1} + b_t with h_{−1} = ``start``, over complex numbers written as pairs (real, imaginary).

    Shapes: ``a`` (state, 2), the same at all positions; ``b`` (batch, positions, state, 2); ``start``
    (batch, state, 2), or None for zeros → h as ``b``. Returned in float32, or float64 if one of the three is:
    where |a| is near 1 a sum over thousands of positions needs it. Raises ValueError for other shapes.

    Positions are cut into chunks. All chunks run side by side from zero, which tells what each adds to the
    state; a scan over these sums, with a to the power of the chunk, gives the state that each chunk starts
    from; from there they run side by side once more (reduce, then scan: Blelloch 1990). So there are two
    multiplications for each number, and the steps that follow one another grow with the logarithm of the
    positions. The gradient is the same recurrence from the last position to the first and keeps h alone.

    Compiled code sees one operator: it takes the pairs because compilers of graphs do not take complex
    numbers.

    >>> half, ones = torch.tensor([[0.5, 0.0]]), torch.tensor([1.0, 0.0]).expand(1, 4, 1, 2)
    >>> scan(half, ones)[0, :, 0, 0]
    tensor([1.0000, 1.5000, 1.7500, 1.8750])
    """
    if b.ndim != 4 or b.shape[1] == 0 or b.shape[-1] != 2:
        raise ValueError(
            f"b of shape {tuple(b.shape)} is not (batch, positions, state, 2) with one position at least"
        )
    if start is None:
        start = b.new_zeros(b.shape[0], *b.shape[2:])
    if a.shape != b.shape[2:] or start.shape != (b.shape[0], *b.shape[2:]):
        raise ValueError(
            f"a of shape {tuple(a.shape)} and start of shape {tuple(start.shape)} do not go with b of shape "
            f"{tuple(b.shape)}; allowed: (state, 2) and (batch, state, 2)"
        )
    kind = torch.float32
    for t in (a, b, start):
        kind = torch.promote_types(kind, t.dtype)
    if transformed():
        return _by_doubling(a.to(kind), b.to(kind), start.to(kind))
    return torch.ops.danlu.scan(a.to(kind), b.to(kind), start.to(kind))


def _by_doubling(a: torch.Tensor, b: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """The same by operators that have derivatives of every kind: after each step a state holds twice as many
    of the inputs before it (Hillis & Steele 1986)."""
    h, step = torch.cat((b[:, :1] + _product(a, start)[:, None], b[:, 1:]), dim=1), 1
    while step < b.shape[1]:
        h = torch.cat((h[:, :step], h[:, step:] + _product(a, h[:, :-step])), dim=1)
        a, step = _product(a, a), 2 * step
    return h


# Defined by schema: an operator of torch.library.custom_op imports the compiler (seconds) when first called.
torch.library.define("danlu::scan", "(Tensor a, Tensor b, Tensor start) -> Tensor")
torch.library.define(
    "danlu::scan_backward", "(Tensor a, Tensor start, Tensor h, Tensor dh) -> (Tensor, Tensor, Tensor)"
)


@torch.library.impl("danlu::scan", "default")
def _scan(a: torch.Tensor, b: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    h = torch.empty(b.shape, dtype=b.dtype, device=b.device)
    _fill(_complex(h), _complex(a).to(torch.complex128), _complex(b), _complex(start))
    return h


@torch.library.impl("danlu::scan_backward", "default")
def _gradients(
    a: torch.Tensor, start: torch.Tensor, h: torch.Tensor, dh: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of a, b and start: g_t = dh_t + ā⊙g_{t+1} is that of b_t, Σ g_t⊙h̄_{t−1} that of a."""
    a, start, h, dh = (_complex(t) for t in (a, start, h, dh))
    back = a.conj_physical()  # not conj(), whose lazy bit is overlooked when compiled code calls an operator
    g = torch.empty_like(h)
    _fill(g, back.to(torch.complex128), dh, torch.zeros_like(start), backwards=True)
    da = (g[:, 0] * start.conj_physical()).sum(0)
    # A few hundred positions at a time, so that the products stay in the processor's cache.
    for after, before in zip(g[:, 1:].split(256, 1), h[:, :-1].split(256, 1), strict=True):
        da += (after * before.conj_physical()).sum((0, 1))
    return torch.view_as_real(da), torch.view_as_real(g), torch.view_as_real(back * g[:, 0])


@torch.library.register_fake("danlu::scan")
def _(a: torch.Tensor, b: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    return torch.empty(b.shape, dtype=b.dtype, device=b.device)


@torch.library.register_fake("danlu::scan_backward")
def _(
    a: torch.Tensor, start: torch.Tensor, h: torch.Tensor, dh: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    da, g, first = (torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in (a, h, start))
    return da, g, first


def _keep(ctx: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
    a, _, start = inputs
    ctx.save_for_backward(a, start, output)


def _backward(ctx: Any, dh: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    a, start, h = ctx.saved_tensors
    if not torch.is_grad_enabled():
        return torch.ops.danlu.scan_backward(a, start, h, dh)
    # For second derivatives: the same by operators that have gradients themselves.
    back = _conjugate(a)
    g = scan(back, dh.flip(1)).flip(1)
    before = torch.cat((start[:, None], h[:, :-1]), dim=1)
    return _product(g, _conjugate(before)).sum((0, 1)), g, _product(back, g[:, 0])


torch.library.register_autograd("danlu::scan", _backward, setup_context=_keep)


def _conjugate(pairs: torch.Tensor) -> torch.Tensor:
    return pairs * pairs.new_tensor((1.0, -1.0))


def _product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a⊙b of complex numbers as pairs."""
    (p, q), (r, s) = a.unbind(-1), b.unbind(-1)
    return torch.stack((p * r - q * s, p * s + q * r), dim=-1)


def _complex(pairs: torch.Tensor) -> torch.Tensor:
    return torch.view_as_complex(pairs.contiguous())


def _fill(
    h: torch.Tensor, a: torch.Tensor, b: torch.Tensor, start: torch.Tensor, *, backwards: bool = False
) -> None:
    """Write the states into ``h``, from the first position on, or from the last one ``backwards``.

    ``a`` is in double precision, so that its powers are as exact as it is.
    """
    rate, order = a.to(b.dtype), -1 if backwards else 1
    chunks = b.shape[1] // CHUNK
    if chunks < 2:
        for x, y in zip(b.unbind(1)[::order], h.unbind(1)[::order], strict=True):
            start = torch.addcmul(x, rate, start, out=y)
        return
    # In the order of the recurrence: whole chunks, then the positions left over.
    cut = b.shape[1] - chunks * CHUNK if backwards else chunks * CHUNK
    whole, rest = (slice(None, cut), slice(cut, None))[::order]
    xs, ys = (t[:, whole].unflatten(1, (chunks, CHUNK)).unbind(2)[::order] for t in (b, h))
    added = xs[0]
    for x in xs[1:]:
        added = torch.addcmul(x, rate, added)
    ends = torch.empty_like(added)
    _fill(ends, a**CHUNK, added, start, backwards=backwards)
    state = torch.cat((ends[:, 1:], start[:, None]) if backwards else (start[:, None], ends[:, :-1]), dim=1)
    for x, y in zip(xs, ys, strict=True):
        state = torch.addcmul(x, rate, state, out=y)
    _fill(h[:, rest], a, b[:, rest], ends[:, 0 if backwards else -1], backwards=backwards)
