"""Attention as a pipeline: project → normalise q, k → position → kernel → gate → project."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
import torch.nn as nn

from danlu import spec
from danlu.nn.cache import KVCache
from danlu.nn.context_parallel import ContextParallel
from danlu.nn.contracts import Mixer, acts_on
from danlu.nn.flex import tiles
from danlu.nn.gates import ElementGate
from danlu.nn.given import Given
from danlu.nn.kernels import ByDistance, Choice, attend, choose, flexible
from danlu.nn.linear import Linear
from danlu.nn.masks import AttentionMask, MaskPattern, visible_keys
from danlu.nn.qk_norm import HeadNorm
from danlu.nn.registry import build, builds
from danlu.nn.shares import Columns, Count, First, Plan, Rows, Units
from danlu.nn.weights import Sinks
from danlu.spec.compatible import check_mixer

ALIKE = "leave it out, or train.mesh.tensor"


@builds(spec.Attention, check_mixer)
class Attention(Mixer):
    """Multi-head attention (Vaswani et al. 2017), grouped-query where ``kv_heads < heads`` (Ainslie et al.
    2023), with the parts of ``spec.Attention``: norms of queries and keys, windows and sparse patterns,
    soft-capped scores, softmax and its kin, gates.

    Args:
        width: of the input and output.
        position: of kind ``rotary``, ``alibi``, …, or a ``HeadPosition`` or ``ScorePosition`` of one's own.
            What acts on the embedding is the model's business and ignored here.
        heads, kv_heads, head_size: query heads, key/value heads (default: heads), size of one
            (default: width/heads).
        scale: of q·k; default 1/√head_size.
        weights: from scores to attention weights; a module or a function of scores (batch, heads, T, S), −∞
            where hidden, in its place. gate: a module of (x, y) as ``HeadGate``. qk_norm: a module of (batch,
            heads, positions, size), of which queries and keys get a copy each.
        bias, biases: whether linear maps have biases; ``biases`` (none, inputs, all) has the last word.
    Shapes: (batch, positions, width) → the same. Raises ValueError for what ``spec.Attention`` refuses.

    >>> attention = Attention(64, heads=4, kv_heads=2, position="rotary", qk_norm="rms")
    >>> x, mask = torch.randn(2, 10, 64), torch.ones(2, 10, dtype=torch.bool)
    >>> mask[1, 7:] = False  # the second sequence is shorter
    >>> attention(x, mask).shape
    torch.Size([2, 10, 64])
    """

    def __init__(
        self,
        width: int,
        position: Given | None = None,
        *,
        heads: int = 4,
        kv_heads: int | None = None,
        head_size: int | None = None,
        window: int | None = None,
        sparse: Given | None = None,
        qk_norm: Given | None = None,
        scale: float | None = None,
        log_n: int | None = None,
        softcap: float | None = None,
        weights: Given | None = None,
        gate: Given | None = None,
        biases: spec.attention.Biases | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.first = heads, kv_heads or heads, 0
        self.size = head_size or width // heads
        self.window, self.log_n, self.softcap = window, log_n, softcap
        self.sparse: spec.Sparse | None = sparse  # type: ignore[assignment]
        self.scale = scale or self.size**-0.5
        biases = biases or ("all" if bias else "none")
        self._project(width, biases != "none")
        self.out = Linear(heads * self.size, width, bias=biases == "all")
        self._place(position)
        self.q_norm: nn.Module | None = None
        self.k_norm: nn.Module | None = None
        self.norm_after = isinstance(qk_norm, spec.QKNorm) and qk_norm.when == "after"
        if isinstance(qk_norm, spec.QKNorm):
            settings = qk_norm.model_dump(exclude={"when", "of"})
            self.k_norm = HeadNorm(self.kv_heads, self.size, **settings)
            self.q_norm = HeadNorm(heads, self.size, **settings) if qk_norm.of == "both" else None
        elif qk_norm is not None:
            self.q_norm, self.k_norm = (copy.deepcopy(build(qk_norm)) for _ in range(2))
        plain = weights is None or isinstance(weights, spec.Softmax)
        self.weights: nn.Module | None = None if plain or weights is None else build(weights, heads)
        self.gate = None if gate is None else build(gate, width, heads, self.size)

    def _project(self, width: int, bias: bool) -> None:
        rows = (self.heads * self.size, self.kv_heads * self.size, self.kv_heads * self.size)
        self.qkv = Linear(width, sum(rows), bias=bias, rows=rows)

    def _place(self, position: Given | None) -> None:
        """Positions that turn queries and keys (``position``), or that are added to scores (``relative``)."""
        self.position: nn.Module | None = None
        self.relative: tuple[nn.Module, ...] = ()
        if position is not None and acts_on(position) == "heads":
            self.position = build(position, self.size)
        elif position is not None and acts_on(position) == "scores":
            made: nn.Module = build(position, self.heads, self.size)
            self.position, self.relative = made, (made,)
        name = "heads" if self.relative else "size"
        if getattr(self.position, name, getattr(self, name)) != getattr(self, name):
            raise ValueError(
                f"position has {name} = {getattr(self.position, name)}, and attention has "
                f"{name} = {getattr(self, name)}; they must be equal"
            )

    def divide(self, over: ContextParallel) -> None:
        """Each process gets the heads/count of all positions. Raises ValueError where heads cannot be dealt
        out, or where weights have numbers of single heads."""
        if self.heads % over.count:
            raise ValueError(f"{self.heads} heads cannot be dealt out to {over.count} processes")
        if self.weights is not None and any(True for _ in self.weights.parameters()):
            raise ValueError(f"{type(self.weights).__name__} has numbers of all heads, which lie apart")
        self.across = over

    def share(self, position: nn.Module) -> None:
        """Add the numbers of ``position``, which the model owns and all its layers share, to the scores. It
        does not become a submodule of this one."""
        self.relative = (position,)

    def _ready(self, x: torch.Tensor, norm: nn.Module | None, start: int) -> torch.Tensor:
        """Queries or keys (batch, heads, positions, size), normalised and turned."""
        if norm is not None and not self.norm_after:
            x = norm(x)
        if self.position is not None and not self.relative:
            x = self.position(x, start)
        return norm(x) if norm is not None and self.norm_after else x

    def forward(
        self,
        x: torch.Tensor,
        mask: AttentionMask | torch.Tensor | None = None,
        cache: KVCache | None = None,
    ) -> torch.Tensor:
        """``mask``: what a position may see (left out: itself and those before it), or bool (batch,
        positions), False for padding, which none may see. ``cache``: the keys and values of earlier
        positions, to which those of ``x`` are appended; documents and padding are then of all positions."""
        batch, length, _ = x.shape
        mask = AttentionMask.of(mask)
        heads = self.qkv(x).view(batch, length, -1, self.size).transpose(1, 2)
        q, k, v = heads.split((self.heads, self.kv_heads, self.kv_heads), dim=1)
        start = cache.length if cache is not None else 0
        if self.across is not None:
            start = self.across.start(length)
        q = self._ready(q, self.q_norm, start)
        if cache is not None and cache.unturned:
            k, v = cache.append(k, v)
            k = self._ready(k, self.k_norm, cache.length - k.shape[2])
        else:
            k = self._ready(k, self.k_norm, start)
            if cache is not None:
                k, v = cache.append(k, v)
        if self.across is not None:
            q, k, v = self.across.to_heads(q), self.across.keys_to_heads(k), self.across.keys_to_heads(v)
        elif start:  # the prefix is behind; a window may have let its keys go
            mask = AttentionMask(mask.causal, 0, mask.documents)
        if self.log_n is not None:
            q = q * self._log_scale(q, k, mask)
        return self._mix(x, q, k, v, mask)

    def _mix(
        self, x: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: AttentionMask
    ) -> torch.Tensor:
        bias: torch.Tensor | ByDistance | None = None
        products = None
        for relative in self.relative:
            products = getattr(relative, "products", None)
            if products is None:
                # Of the heads that are this process's by its share, from the first on, those dealt to it.
                head = self.first + (0 if self.across is None else self.across.rank * q.shape[1])
                bias = _added(relative, q, k.shape[2], mask.causal, head)
        y = attend(
            q,
            k,
            v,
            scale=self.scale,
            mask=mask,
            window=self.window,
            sparse=self.sparse,
            bias=bias,
            softcap=self.softcap,
            normaliser=self.weights,
            products=products,
        )
        if self.across is not None:
            y = self.across.to_positions(y)
        if self.gate is not None:
            y = self.gate(x, y)
        return self.out(y.transpose(1, 2).flatten(2))

    def _log_scale(self, q: torch.Tensor, k: torch.Tensor, mask: AttentionMask) -> torch.Tensor:
        """max(1, ln n/ln log_n) for each query's n visible keys (Su 2021): (1 or batch, 1, positions, 1)."""
        assert self.log_n is not None
        pattern = MaskPattern(q.shape[2], k.shape[2], mask.causal, mask.prefix, self.window, self.sparse)
        n = visible_keys(pattern, mask.documents, q.device).float()
        return (n.log() / math.log(self.log_n)).clamp(min=1).to(q.dtype).view(-1, 1, q.shape[2], 1)

    def cache(self, batch: int, length: int) -> KVCache:
        """An empty cache for ``length`` positions."""
        return KVCache(batch, self.kv_heads, length, self.size, window=self.window)

    def cache_bytes(self, length: int, element: int) -> int:
        """Bytes held for one sequence of ``length`` positions, at ``element`` bytes a number."""
        return 2 * self.kv_heads * self.size * min(length, self.window or length) * element

    def value_path(self) -> list[torch.Tensor]:
        """The weights that values flow through."""
        return [self.qkv.weight[-self.kv_heads * self.size :], self.out.weight]

    def readers(self) -> list[Linear] | None:
        return self._beside_gate(self.qkv)

    def _beside_gate(self, linear: Linear) -> list[Linear] | None:
        if self.gate is None:
            return [linear]
        return [linear, self.gate.map] if isinstance(self.gate, ElementGate) else None

    def choice(
        self, device: str, dtype: torch.dtype, length: int, mask: AttentionMask, separate: bool = False
    ) -> Choice:
        """The kernel that runs a pass over ``length`` positions, and why; ``separate``: with documents."""
        pattern = MaskPattern(length, length, mask.causal, mask.prefix, self.window, self.sparse)
        masked = separate or pattern.masked
        products = bias = None
        for relative in self.relative:
            products = getattr(relative, "products", None)
            bias = "distance" if hasattr(relative, "numbers") else "pairs"
        parts: Any = {"softcap": self.softcap, "normaliser": self.weights, "products": products}
        return choose(
            device,
            dtype,
            length,
            masked=masked,
            biased=any(p.requires_grad for relative in self.relative for p in relative.parameters()),
            needs=self.needs(),
            flexible=flexible(pattern, masked=masked, bias=bias, **parts),  # type: ignore[arg-type]
        )

    def shard(self) -> Plan:
        keys = Units(self.kv_heads, self.size, shared=True)
        return self._by_heads() | {"qkv": Rows((Units(self.heads, self.size), keys, keys))}

    def _by_heads(self) -> dict[str, Any]:
        """What is divided by heads but for the maps to queries, keys and values."""
        each = Units(self.heads, self.size)
        plan: dict[str, Any] = {"heads": Count(), "kv_heads": Count(shared=True), "out": Columns(each)}
        plan["first"] = First(self.heads)
        for name, units in (("q_norm", each), ("k_norm", Units(self.kv_heads, self.size, shared=True))):
            norm = getattr(self, name)
            if isinstance(norm, HeadNorm) and norm.over == "head":
                if norm.gain is not None and norm.shape[0] == -1:
                    plan[f"{name}.gain"] = Rows((units,))
            elif norm is not None:
                raise ValueError(f"qk_norm: {type(norm).__name__} may look at all heads together; {ALIKE}")
        if isinstance(self.weights, Sinks):
            plan["weights.sinks"] = Rows((Units(self.heads),))
        elif self.weights is not None and next(self.weights.parameters(), None) is not None:
            raise ValueError(f"weights: {type(self.weights).__name__} does not say what heads have; {ALIKE}")
        if isinstance(self.gate, ElementGate):
            plan["gate.map"] = Rows((each,))
        elif self.gate is not None:
            raise ValueError(f"gate: {type(self.gate).__name__} reads the input head by head; {ALIKE}")
        return plan

    def needs(self) -> str | None:
        """The part that no fused kernel can run, by name."""
        if self.softcap is not None:
            return "softcap"
        if self.weights is not None:
            return f"weights = {type(self.weights).__name__}"
        if any(hasattr(relative, "products") for relative in self.relative):
            return "position = rerope"
        return None

    def flops(self, batch: int, length: int) -> int:
        """FLOPs of the matrix products of a forward pass over ``batch`` sequences: the projections and,
        in attention, every pair of positions (the common convention, though a kernel may skip those
        that are masked)."""
        pairs = 4 * batch * self.heads * self.size * length * length
        gate = 0 if self.gate is None else self.gate.flops(batch * length)
        pairs += sum(p.flops(batch, length) for p in self.relative if hasattr(p, "flops"))  # type: ignore[operator]
        return self.qkv.flops(batch * length) + self.out.flops(batch * length) + pairs + gate

    def decoding_flops(self, length: int) -> int:
        """FLOPs of the last of ``length`` positions with a cache of those before it."""
        keys = min(length, self.window or length)
        return self.flops(1, keys) // keys  # a pass counts all keys for every query


def on_gpu(x: torch.Tensor) -> bool:
    """Whether it is there."""
    return x.is_cuda


def tiled(mask: AttentionMask, mixers: Iterable[nn.Module], x: torch.Tensor) -> AttentionMask:
    """The mask with what FlexAttention takes of it for those ``mixers`` over ``x`` (batch, positions, …) that
    run it: once for all layers that are alike, and outside of what is compiled, unless all is."""
    if not on_gpu(x):
        return mask
    length, found = x.shape[1], {}
    for mixer in mixers:
        separate = mask.documents is not None
        if isinstance(mixer, Attention) and (
            mixer.choice("cuda", x.dtype, length, mask, separate).kernel == "flex"
        ):
            pattern = MaskPattern(length, length, mask.causal, mask.prefix, mixer.window, mixer.sparse)
            if pattern.span not in found:
                found[pattern.span] = tiles(pattern, mask.documents, x.device)
    return replace(mask, tiles=found) if found else mask


def _added(
    position: nn.Module, q: torch.Tensor, keys: int, causal: bool, head: int
) -> torch.Tensor | ByDistance:
    """What ``position`` adds to the scores of queries, the last of ``keys`` positions; those of some heads,
    from ``head`` on, where not all are here."""
    at: Any = position
    given = q, keys, keys - q.shape[2], causal

    def here(added: torch.Tensor, dim: int) -> torch.Tensor:
        return added.narrow(dim, head, q.shape[1]) if added.shape[dim] > q.shape[1] else added

    if not hasattr(at, "numbers"):
        return here(at.bias(*given), -3)
    learned = torch.is_grad_enabled() and any(p.requires_grad for p in position.parameters())
    return ByDistance(lambda: here(at.numbers(*given), -2), lambda: here(at.bias(*given), -3), learned)


class CrossAttention(Attention):
    """Attention whose keys and values come from another sequence, the ``memory``; no positions, no mask.

    Args as ``Attention``'s; what belongs to a single sequence (window, sparse, log_n, position) is ignored.
    """

    shard_in = ("keys_and_values", "attend_to")

    def __init__(self, width: int, *, bias: bool = False, **settings: object) -> None:
        alone = {"window": None, "sparse": None, "log_n": None}
        super().__init__(width, None, bias=bias, **(settings | alone))  # type: ignore[arg-type]

    def _project(self, width: int, bias: bool) -> None:
        rows = self.kv_heads * self.size
        self.q = Linear(width, self.heads * self.size, bias=bias)
        self.kv = Linear(width, 2 * rows, bias=bias, rows=(rows, rows))

    def keys_and_values(self, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of ``memory`` (batch, S, width): two (batch, kv_heads, S, size)."""
        kv = self.kv(memory).unflatten(-1, (-1, self.size)).transpose(1, 2)
        k, v = kv.split((self.kv_heads, self.kv_heads), dim=1)
        return (k if self.k_norm is None else self.k_norm(k)), v

    def attend_to(self, x: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """(batch, T, width) → the same, over keys and values of the memory."""
        q = self.q(x).unflatten(-1, (-1, self.size)).transpose(1, 2)
        q = q if self.q_norm is None else self.q_norm(q)
        return self._mix(x, q, k, v, AttentionMask(causal=False))

    def shard(self) -> Plan:
        keys = Units(self.kv_heads, self.size, shared=True)
        return self._by_heads() | {"q": Rows((Units(self.heads, self.size),)), "kv": Rows((keys, keys))}

    def value_path(self) -> list[torch.Tensor]:
        return [self.kv.weight[-self.kv_heads * self.size :], self.out.weight]

    def readers(self) -> list[Linear] | None:
        """Of the stream; ``kv`` reads the memory."""
        return self._beside_gate(self.q)

    def flops_over(self, batch: int, length: int, memory: int) -> int:
        """FLOPs of the matrix products over a memory of ``memory`` positions."""
        pairs = 4 * batch * self.heads * self.size * length * memory
        tokens = batch * length
        gate = 0 if self.gate is None else self.gate.flops(tokens)
        return self.q.flops(tokens) + self.kv.flops(batch * memory) + self.out.flops(tokens) + pairs + gate

    def decoding_flops(self, length: int) -> int:
        """FLOPs of one position over a memory of ``length``, whose keys and values are cached."""
        return self.flops_over(1, 1, length) - self.kv.flops(length)
