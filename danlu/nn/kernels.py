"""The kernel of attention: chosen in one place, from what the parts need and what was measured.

Every kernel computes weights(softcap(scale · q kᵀ + bias) + mask) v. ``sdpa`` is PyTorch's fused kernel,
``plain`` blocks of plain products with a backward pass of our own, ``flex`` what PyTorch's compiler makes of
mask and scores on a GPU, ``eager`` one operation after another, for what the others cannot do. ``choose``
picks one of these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from typing import Literal, NamedTuple

import torch

from danlu import spec
from danlu.files.yaml import read_mapping
from danlu.nn import flex
from danlu.nn.derivatives import is_pure, transformed
from danlu.nn.fused import META, fused
from danlu.nn.masks import AttentionMask, MaskPattern, across_documents, additive_mask
from danlu.nn.plain import BLOCK, Plain, blocks

Normaliser = Callable[[torch.Tensor], torch.Tensor]
Products = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]
DTYPES = {torch.bfloat16: "bfloat16", torch.float16: "bfloat16"}  # the rest: float32


class Measured(NamedTuple):
    """Milliseconds of forward and backward of one attention at a length, by kernel; ``eager``: None where
    that was not measured."""

    length: int
    sdpa: float
    plain: float
    eager: float | None = None


class Choice(NamedTuple):
    """A kernel, the reason for it, and the measurement that it rests on, where it rests on one."""

    kernel: str
    why: str
    measured: Measured | None = None


class ByDistance(NamedTuple):
    """What is added to scores where the distance of query and key decides it, made in the form that a kernel
    needs: ``numbers``, (heads, queries + keys − 1), or ``pairs``, (heads, queries, keys); see
    ``danlu.nn.positions.biases``. ``learned``: whether it has a gradient."""

    numbers: Callable[[], torch.Tensor]
    pairs: Callable[[], torch.Tensor]
    learned: bool


class Attended(NamedTuple):
    """A call of ``attend``: what its scores are made of, as ``watched`` hands it on, and the values ``v``.
    ``different``: (B, T, S), True where query and key are of different documents."""

    q: torch.Tensor
    k: torch.Tensor
    scale: float
    pattern: MaskPattern
    different: torch.Tensor | None = None
    bias: torch.Tensor | None = None
    softcap: float | None = None
    normaliser: Normaliser | None = None
    products: Products | None = None
    v: torch.Tensor | None = None

    def scores(self, start: int, stop: int, low: int, high: int) -> torch.Tensor:
        """Of queries ``start`` to ``stop`` with keys ``low`` to ``high``, one of ``blocks(pattern)``: (B, H,
        stop − start, high − low), −∞ where hidden."""
        repeat = self.q.shape[1] // self.k.shape[1]
        q, k = self.q[:, :, start:stop], self.k[:, :, low:high]
        if repeat > 1:
            k = k.repeat_interleave(repeat, dim=1)
        if self.products is None:
            scores = (q * self.scale) @ k.transpose(-1, -2)
        else:
            scores = self.products(q, k, start + self.pattern.offset - low) * self.scale
        if self.bias is not None:
            scores = scores + self.bias[..., start:stop, low:high].to(scores.dtype)
        if self.softcap is not None:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        scores = scores + additive_mask(self.pattern, start, stop, scores.dtype, scores.device)
        if self.different is not None:
            scores = scores.masked_fill(self.different[:, None, start:stop, low:high], float("-inf"))
        return scores

    def weights(self, scores: torch.Tensor) -> torch.Tensor:
        """What the scores come to, in their shape."""
        return scores.softmax(dim=-1) if self.normaliser is None else self.normaliser(scores)


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
        one = Measured(row["length"], row["sdpa"], row["plain"], row.get("eager"))
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
        if masked and device == "cuda" and dtype in flex.TYPES:  # the nearest length decides
            found[mask] = {str(flex.FROM - 1): "sdpa", str(flex.FROM): "flex"}
    return found


@contextmanager
def kernel_choice(kept: Kept) -> Iterator[None]:
    """Within, ``choose`` takes the kernels of ``kept`` (see ``to_keep``) and not those of the table. An empty
    mapping leaves the choice to the table. Raises ValueError where ``kept`` says something else."""
    for mask, by_length in kept.items():
        for length, kernel in by_length.items():
            if (
                mask not in ("open", "masked")
                or kernel not in ("sdpa", "plain", "flex")
                or not length.isdecimal()
            ):
                raise ValueError(
                    f"attention.{mask}.{length} = {kernel!r} is not a choice of a kernel; allowed: "
                    "open or masked, a length in positions, sdpa, plain or flex"
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


def _nearest(kept: Mapping[str, str], length: int) -> str:
    """The length of ``kept`` that is nearest."""
    return min(kept, key=lambda text: _far(int(text), length))


def _flexes(needs: str | None, masked: bool) -> str:
    if needs:
        return f"{needs} is in no fused kernel: the compiler writes one"
    what = "the mask" if masked else "what is added to scores"
    return f"a fused kernel would read {what} for each pair: the compiler writes one that does not"


def choose(
    device: str,
    dtype: torch.dtype,
    length: int = BLOCK,
    *,
    masked: bool = False,
    biased: bool = False,
    needs: str | None = None,
    flexible: bool = False,
) -> Choice:
    """Which kernel runs attention over ``length`` positions, and why.

    ``masked``: with a window, a pattern, documents or a prefix; ``biased``: with a learned number added to
    each score; ``needs``: the part that no fused or blocked kernel can run, by name; ``flexible``: whether it
    is one that a fused kernel would need a number for each pair for, or cannot run, and FlexAttention can.
    """
    device, name = META.get() if device == "meta" else device, DTYPES.get(dtype, "float32")
    kept = _KEPT[-1].get("masked" if masked else "open") if _KEPT else None
    if flexible and device == "cuda" and dtype in flex.TYPES and length >= flex.FROM:
        at = None if needs or not masked or not kept else kept[_nearest(kept, length)]
        lacking, learned = flex.missing(), biased and torch.are_deterministic_algorithms_enabled()
        if at in (None, "flex") and not lacking and not learned:
            return Choice("flex", _flexes(needs, masked))
    rows = MEASURED.get((device, name, masked), ())
    near = min(rows, key=lambda row: _far(row.length, length), default=None)
    where = f"{name} on {device}{' with a mask' if masked else ''}"
    if needs:
        why = f"{needs} is in no fused kernel: scores are computed in eager mode"
        if near is None or near.eager is None:
            return Choice("eager", why)
        rival = _faster(near)
        times = near.eager / min(near.plain, near.sdpa)
        why += f", {times:.1f} times the time of {rival}, measured at {near.length} positions in {where}"
        return Choice("eager", why, near)
    if biased and device == "cpu":
        return Choice(
            "plain", "a learned bias needs its gradient, which the fused kernel takes from no fast path"
        )
    if kept and (kernel := kept[at := _nearest(kept, length)]) != "flex":
        return Choice(kernel, f"the run began with it, by what was measured then at {at} positions")
    if near is None:
        return Choice("sdpa", f"nothing was measured for {where}: PyTorch's own choice")
    kernel = _faster(near)
    rival = "sdpa" if kernel == "plain" else "plain"
    best, other = sorted((near.plain, near.sdpa))
    why = f"measured at {near.length} positions in {where}: {other / best:.1f} times as fast as {rival}"
    return Choice(kernel, why, near)


def flexible(
    pattern: MaskPattern,
    *,
    masked: bool,
    bias: Literal["distance", "pairs"] | None = None,
    softcap: float | None = None,
    normaliser: Normaliser | None = None,
    products: Products | None = None,
) -> bool:
    """Whether FlexAttention can run it, and a fused kernel not or only with a number for each pair. ``bias``:
    whether something is added to scores by distance or for each pair; the rest as ``attend``'s. A query at a
    time, as texts are written, is not for it: each length would be compiled."""
    sinks = normaliser is None or hasattr(normaliser, "sink")
    can = products is None and sinks and bias != "pairs" and pattern.offset == 0 and pattern.queries > 1
    return can and (masked or bias is not None or softcap is not None or normaliser is not None)


def attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    scale: float,
    mask: AttentionMask | None = None,
    window: int | None = None,
    sparse: spec.Sparse | None = None,
    bias: torch.Tensor | ByDistance | None = None,
    softcap: float | None = None,
    normaliser: Normaliser | None = None,
    products: Products | None = None,
    kernel: str | None = None,
) -> torch.Tensor:
    """Attention.

    Shapes: ``q`` (B, H, T, d); ``k`` (B, G, S, d) and ``v`` (B, G, S, e) with G dividing H; under a causal
    ``mask`` the queries are the last T of S positions; ``bias`` broadcasts to (B, H, T, S) and is added to
    the scores, or is a ``ByDistance``; ``normaliser`` turns scores (B, H, T, S), −∞ where hidden, into
    weights (left out: softmax); ``products`` (q, k of H heads, offset) stands in place of q kᵀ. Returns
    (B, H, T, e) in the type of ``v``. ``kernel`` overrides the measured choice.

    >>> q, k, v = torch.randn(2, 8, 10, 16), torch.randn(2, 2, 10, 16), torch.randn(2, 2, 10, 16)
    >>> attend(q, k, v, scale=0.25, window=4).shape
    torch.Size([2, 8, 10, 16])
    """
    mask = AttentionMask.of(mask)
    pattern = MaskPattern(q.shape[2], k.shape[2], mask.causal, mask.prefix, window, sparse)
    masked = mask.documents is not None or pattern.masked
    given = isinstance(bias, ByDistance)
    if kernel is None:
        kernel = choose(
            q.device.type,
            q.dtype,
            pattern.keys,
            masked=masked,
            biased=bias.learned if isinstance(bias, ByDistance) else bias is not None and bias.requires_grad,
            needs="this" if softcap or normaliser or products else None,
            flexible=flexible(
                pattern,
                masked=masked,
                bias="distance" if given else "pairs" if bias is not None else None,
                softcap=softcap,
                normaliser=normaliser,
                products=products,
            ),
        ).kernel
    if kernel == "flex" and not (_WATCHERS or is_pure() or transformed()):
        numbers = bias.numbers() if isinstance(bias, ByDistance) else None
        sink = None if normaliser is None else normaliser.sink(q)  # type: ignore[attr-defined]
        made = None if mask.tiles is None else mask.tiles.get(pattern.span)
        return flex.flex(q, k, v, scale, pattern, mask.documents, numbers, softcap, sink, made)
    if isinstance(bias, ByDistance):
        bias = bias.pairs()
    different = across_documents(pattern, mask.documents)
    for watcher in _WATCHERS:
        watcher(Attended(q, k, scale, pattern, different, bias, softcap, normaliser, products, v))
    if kernel in ("eager", "flex") or is_pure() or (kernel == "plain" and transformed()):
        return _eager(Attended(q, k, scale, pattern, different, bias, softcap, normaliser, products), v)
    if kernel == "plain":
        return _plain(q, k, v, scale, pattern, different, bias)
    return fused(q, k, v, scale, pattern, different, bias, masked)


def _plain(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float,
    pattern: MaskPattern,
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
        pattern,
        extra,
    )
    return y.view(batch, heads, queries, -1)


def _eager(call: Attended, v: torch.Tensor) -> torch.Tensor:
    repeat = call.q.shape[1] // call.k.shape[1]
    if repeat > 1:
        v = v.repeat_interleave(repeat, dim=1)
    mixed = []
    for start, stop, low, high in blocks(call.pattern):
        p = call.weights(call.scores(start, stop, low, high))
        mixed.append(p.to(v.dtype) @ v[:, :, low:high])
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=2)
