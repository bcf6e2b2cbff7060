"""The kernel of attention: chosen in one place, from what the parts need and what was measured.

Every kernel computes weights(softcap(scale · q kᵀ + bias) + mask) v. ``sdpa`` is PyTorch's fused kernel,
``plain`` blocks of plain products with a backward pass of our own, ``written-out`` one operation after
another, for what the others cannot do. ``choose`` picks one of these; ``plan`` says how PyTorch's is to be
called, so that on a GPU it does not write the scores out after all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import resources
from typing import NamedTuple

import torch
import torch.nn.functional as F

from danlu import spec
from danlu.nn.derivatives import once_only, transformed
from danlu.nn.plain import BLOCK, Plain, blocks
from danlu.nn.scope import Scope, Span, apart, hiding, visible
from danlu.spec.text import read_mapping

Weigh = Callable[[torch.Tensor], torch.Tensor]
Products = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]
DTYPES = {torch.bfloat16: "bfloat16", torch.float16: "bfloat16"}  # the rest: float32
# The device that PyTorch's meta device, which computes nothing, stands for when costs are told.
META: ContextVar[str] = ContextVar("meta stands for", default="cpu")


class Measured(NamedTuple):
    """Milliseconds of forward and backward of one attention at a length, by kernel; ``written``: written out,
    None where that was not measured."""

    length: int
    sdpa: float
    plain: float
    written: float | None = None


class Choice(NamedTuple):
    """A kernel, the reason for it, and the measurement that it rests on, where it rests on one."""

    kernel: str
    why: str
    measured: Measured | None = None


class Attended(NamedTuple):
    """A call of ``attend``: what its scores are made of, as ``watched`` hands it on. ``apart``: (B, T, S),
    True where query and key are of different documents."""

    q: torch.Tensor
    k: torch.Tensor
    scale: float
    span: Span
    apart: torch.Tensor | None = None
    bias: torch.Tensor | None = None
    softcap: float | None = None
    weigh: Weigh | None = None
    products: Products | None = None

    def scores(self, start: int, stop: int, low: int, high: int) -> torch.Tensor:
        """Of queries ``start`` to ``stop`` with keys ``low`` to ``high``, one of ``blocks(span)``: (B, H,
        stop − start, high − low), −∞ where hidden."""
        repeat = self.q.shape[1] // self.k.shape[1]
        q, k = self.q[:, :, start:stop], self.k[:, :, low:high]
        if repeat > 1:
            k = k.repeat_interleave(repeat, dim=1)
        if self.products is None:
            scores = (q * self.scale) @ k.transpose(-1, -2)
        else:
            scores = self.products(q, k, start + self.span.offset - low) * self.scale
        if self.bias is not None:
            scores = scores + self.bias[..., start:stop, low:high].to(scores.dtype)
        if self.softcap is not None:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        scores = scores + hiding(self.span, start, stop, scores.dtype, scores.device)
        if self.apart is not None:
            scores = scores.masked_fill(self.apart[:, None, start:stop, low:high], float("-inf"))
        return scores

    def weights(self, scores: torch.Tensor) -> torch.Tensor:
        """What the scores come to, in their shape."""
        return scores.softmax(dim=-1) if self.weigh is None else self.weigh(scores)


Watcher = Callable[[Attended], None]
_WATCHERS: list[Watcher] = []  # a list and no ContextVar: the compiler can guard it


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Within, ``watcher`` is told of each call of ``attend`` in this process. What is compiled would be
    compiled anew for it: run it eagerly there."""
    _WATCHERS.append(watcher)
    try:
        yield
    finally:
        _WATCHERS.remove(watcher)


def _read() -> dict[tuple[str, str, bool], tuple[Measured, ...]]:
    found = read_mapping(resources.files("danlu") / "catalog" / "kernels.yaml", "the table of kernels")
    rows: dict[tuple[str, str, bool], tuple[Measured, ...]] = {}
    for row in sorted(found["measured"], key=lambda row: row["length"]):
        key = row["device"], row["dtype"], row["masked"]
        one = Measured(row["length"], row["sdpa"], row["plain"], row.get("written"))
        rows[key] = (*rows.get(key, ()), one)
    return rows


# What `python -m bench.kernels` measured, by (device, dtype, masked), in the order of lengths.
MEASURED = _read()


Kept = Mapping[str, Mapping[str, str]]
_KEPT: list[Kept] = []  # a list and no ContextVar: the compiler can guard it


def to_keep(device: str, dtype: torch.dtype) -> dict[str, dict[str, str]]:
    """What a run writes down, so that a resume under a newer table runs the same kernels: under ``open`` and
    ``masked`` the kernel chosen at each length that was measured, lengths as decimal strings (JSON has no
    other keys)."""
    name, found = DTYPES.get(dtype, "float32"), {}
    for mask, masked in (("open", False), ("masked", True)):
        rows = MEASURED.get((device, name, masked), ())
        found[mask] = {str(row.length): _faster(row) for row in rows} or {str(BLOCK): "sdpa"}
    return found


@contextmanager
def kernel_choice(kept: Kept) -> Iterator[None]:
    """Within, ``choose`` takes the kernels of ``kept`` (see ``to_keep``) and not those of the table. An empty
    mapping leaves the choice to the table. Raises ValueError where ``kept`` says something else."""
    for mask, by_length in kept.items():
        for length, kernel in by_length.items():
            if mask not in ("open", "masked") or kernel not in ("sdpa", "plain") or not length.isdecimal():
                raise ValueError(
                    f"attention.{mask}.{length} = {kernel!r} is not a choice of a kernel; allowed: "
                    "open or masked, a length in positions, sdpa or plain"
                )
    _KEPT.append(kept)
    try:
        yield
    finally:
        _KEPT.pop()


def _faster(row: Measured) -> str:
    return "plain" if row.plain <= row.sdpa else "sdpa"


def _far(a: int, b: int) -> float:
    """How far two lengths are from each other: by their ratio."""
    return abs(math.log(max(a, 1) / max(b, 1)))


def choose(
    device: str,
    dtype: torch.dtype,
    length: int = BLOCK,
    *,
    masked: bool = False,
    biased: bool = False,
    needs: str | None = None,
) -> Choice:
    """Which kernel runs attention over ``length`` positions, and why.

    ``masked``: with a window, a pattern, documents or a prefix; ``biased``: with a learned number added to
    each score; ``needs``: the part that no fused or blocked kernel can run, by name.
    """
    device, name = META.get() if device == "meta" else device, DTYPES.get(dtype, "float32")
    rows = MEASURED.get((device, name, masked), ())
    near = min(rows, key=lambda row: _far(row.length, length), default=None)
    where = f"{name} on {device}{' with a mask' if masked else ''}"
    if needs:
        why = f"{needs} is in no fused kernel: scores are written out"
        if near is None or near.written is None:
            return Choice("written-out", why)
        rival = _faster(near)
        times = near.written / min(near.plain, near.sdpa)
        why += f", {times:.1f} times the time of {rival}, measured at {near.length} positions in {where}"
        return Choice("written-out", why, near)
    if biased and device == "cpu":
        return Choice(
            "plain", "a learned bias needs its gradient, which the fused kernel takes from no fast path"
        )
    kept = _KEPT[-1].get("masked" if masked else "open") if _KEPT else None
    if kept:
        at = min(kept, key=lambda text: _far(int(text), length))
        return Choice(kept[at], f"the run began with it, by what was measured then at {at} positions")
    if near is None:
        return Choice("sdpa", f"nothing was measured for {where}: PyTorch's own choice")
    kernel, rival = ("plain", "sdpa") if near.plain <= near.sdpa else ("sdpa", "plain")
    best, other = sorted((near.plain, near.sdpa))
    why = f"measured at {near.length} positions in {where}: {other / best:.1f} times as fast as {rival}"
    return Choice(kernel, why, near)


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


def attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    scale: float,
    scope: Scope | None = None,
    window: int | None = None,
    sparse: spec.Sparse | None = None,
    bias: torch.Tensor | None = None,
    softcap: float | None = None,
    weigh: Weigh | None = None,
    products: Products | None = None,
    kernel: str | None = None,
) -> torch.Tensor:
    """Attention.

    Shapes: ``q`` (B, H, T, d); ``k`` (B, G, S, d) and ``v`` (B, G, S, e) with G dividing H; under a causal
    ``scope`` the queries are the last T of S positions; ``bias`` broadcasts to (B, H, T, S) and is added to
    the scores; ``weigh`` turns scores (B, H, T, S), −∞ where hidden, into weights (left out: softmax);
    ``products`` (q, k of H heads, offset) stands in place of q kᵀ. Returns (B, H, T, e) in the type of ``v``.
    ``kernel`` overrides the measured choice.
    """
    scope = scope or Scope()
    span = Span(q.shape[2], k.shape[2], scope.causal, scope.prefix, window, sparse)
    different = apart(span, scope.documents)
    masked = different is not None or not (span.full or span.plainly_causal)
    if kernel is None:
        kernel = choose(
            q.device.type,
            q.dtype,
            span.keys,
            masked=masked,
            biased=bias is not None and bias.requires_grad,
            needs="this" if softcap or weigh or products else None,
        ).kernel
    for watcher in _WATCHERS:
        watcher(Attended(q, k, scale, span, different, bias, softcap, weigh, products))
    if kernel == "written-out" or (kernel == "plain" and transformed()):
        return _written_out(Attended(q, k, scale, span, different, bias, softcap, weigh, products), v)
    if kernel == "plain":
        return _plain(q, k, v, scale, span, different, bias)
    return _fused(q, k, v, scale, span, different, bias, masked)


def _plain(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float,
    span: Span,
    different: torch.Tensor | None,
    bias: torch.Tensor | None,
) -> torch.Tensor:
    batch, heads, queries, size = q.shape
    groups, keys = k.shape[1], k.shape[2]
    repeat, extra = heads // groups, None
    if bias is not None:
        whole = bias.to(q.dtype).expand(batch, heads, queries, keys)
        extra = whole.reshape(batch * groups, repeat, queries, keys)
    if different is not None:
        hidden = torch.zeros(different.shape, dtype=q.dtype, device=q.device)
        hidden = hidden.masked_fill_(different, float("-inf")).repeat_interleave(groups, dim=0)[:, None]
        extra = hidden if extra is None else extra + hidden
    y, *_ = Plain.apply(
        q.reshape(batch * groups, repeat, queries, size),
        k.reshape(batch * groups, keys, size),
        v.reshape(batch * groups, keys, -1),
        scale,
        span,
        extra,
    )
    return y.view(batch, heads, queries, -1)


def _fused(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float,
    span: Span,
    different: torch.Tensor | None,
    bias: torch.Tensor | None,
    masked: bool,
) -> torch.Tensor:
    mask = None
    if bias is not None:
        seen = visible(span, q.device)
        if different is not None:
            seen = (seen & ~different)[:, None]
        # One for all sequences where it is the same: PyTorch broadcasts it without a copy.
        mask = bias.to(q.dtype).reshape((1,) * (4 - bias.ndim) + bias.shape).masked_fill(~seen, float("-inf"))
    elif masked:
        mask = visible(span, q.device)
        if different is not None:
            mask = (mask & ~different)[:, None]
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
    q, k, v = (_filled(t, how.multiple) for t in (q, k, v))
    if q.is_meta:
        outline = _outline(q, k, v, mask, how)
        if outline is not None:
            return _first(outline, size)
    y = F.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=mask,
        is_causal=mask is None and not span.full,
        scale=scale,
        enable_gqa=repeat > 1 and not how.expand,
    )
    return _first(once_only(y, q, k, v), size)


def _filled(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """``x`` with zeros after its last dimension, up to a multiple: they add nothing to a product."""
    return F.pad(x, (0, -x.shape[-1] % multiple)) if x.shape[-1] % multiple else x


def _first(x: torch.Tensor, size: int) -> torch.Tensor:
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


def _written_out(call: Attended, v: torch.Tensor) -> torch.Tensor:
    repeat = call.q.shape[1] // call.k.shape[1]
    if repeat > 1:
        v = v.repeat_interleave(repeat, dim=1)
    mixed = []
    for start, stop, low, high in blocks(call.span):
        p = call.weights(call.scores(start, stop, low, high))
        mixed.append(p.to(v.dtype) @ v[:, :, low:high])
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=2)
