"""Multi-head latent attention: keys and values of all heads from one cached vector a position."""

from __future__ import annotations

import torch
import torch.nn as nn

from danlu import spec
from danlu.nn.context_parallel import ContextParallel
from danlu.nn.contracts import Mixer, acts_on
from danlu.nn.given import Given
from danlu.nn.kernels import attend
from danlu.nn.linear import Linear
from danlu.nn.masks import AttentionMask
from danlu.nn.norms import RMSNorm
from danlu.nn.registry import build, builds
from danlu.nn.shares import Columns, Count, Plan, Rows, Units
from danlu.spec.compatible import check_mixer


class LatentCache:
    """What latent attention keeps of the positions already seen, filled from the left: at most ``length``
    vectors of ``size`` numbers, the normalised latent and the turned shared key, for ``batch`` sequences."""

    def __init__(self, batch: int, length: int, size: int) -> None:
        self.shape = (batch, length, size)
        self.length = 0
        self._held: torch.Tensor | None = None

    def append(self, new: torch.Tensor) -> torch.Tensor:
        """Add (batch, new, size) vectors; return those of all positions so far.

        Raises ValueError when the new positions do not fit.
        """
        if self._held is None:
            self._held = new.new_empty(self.shape)
        stop = self.length + new.shape[1]
        if stop > self.shape[1]:
            raise ValueError(f"the cache holds {self.shape[1]} positions; {stop} were asked for")
        self._held[:, self.length : stop] = new
        self.length = stop
        return self._held[:, :stop]

    @property
    def bytes(self) -> int:
        """Bytes held."""
        return 0 if self._held is None else self._held.numel() * self._held.element_size()


@builds(spec.LatentAttention, check_mixer)
class LatentAttention(Mixer):
    """Multi-head latent attention (DeepSeek-V2 2024, arXiv:2405.04434, section 2.1 and appendix C).

    Of each position c = RMSNorm(x W_c) and r = turn(x W_r) are kept; head h has the key [c K_h ; r] and
    the value c V_h (eq. 9 to 11, 15, 16). Its query is [x Q_h ; turn(x R_h)], or the same of RMSNorm(x W_q)
    in place of x (eq. 12 to 14). The score is scale · query · key.

    Two forms give the same output. ``expanded`` makes every head's keys and values: fewer operations for
    a pair of positions, used without a cache and for the first positions put into one. ``absorbed`` uses
    (x Q_h)·(c K_h) = (x Q_h K_hᵀ)·c and Σ w (c V_h) = (Σ w c) V_h, so that all heads share the key [c ; r]
    and the value c, as they are cached: used when the cache holds earlier positions.

    Args:
        width: of the input and output.
        position: rotary, a specification or a module (``HeadPosition``), which turns the ``rotary_size``
            numbers; without one (None, or positions that are added to the embedding) these are left as they
            are.
        heads: number of heads.
        head_size, value_size: of the part of a query that is not turned, and of a value (default:
            width/heads).
        latent: size of c; query_latent: of RMSNorm(x W_q), None for queries straight from x.
        scale: of q·k; default 1/√(head_size + rotary_size). YaRN's second factor (DeepSeek's
            ``mscale_all_dim``) belongs here.
        eps: of both norms, which have a gain.
        bias: of ``q_down``, ``kv_down`` and ``out``, as in DeepSeek's code; in the other maps there is none.
    Shapes: (batch, positions, width) → the same, in the type of the input.
    Raises ValueError for positions that act on the scores.
    """

    def __init__(
        self,
        width: int,
        position: Given | None = None,
        *,
        heads: int = 4,
        head_size: int | None = None,
        value_size: int | None = None,
        latent: int = 32,
        query_latent: int | None = None,
        rotary_size: int = 16,
        scale: float | None = None,
        eps: float = 1e-6,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.latent, self.rotary_size = heads, latent, rotary_size
        self.head_size, self.value_size = head_size or width // heads, value_size or width // heads
        self.scale = scale or (self.head_size + rotary_size) ** -0.5
        queries = heads * (self.head_size + rotary_size)
        self.query_latent = query_latent
        if query_latent is None:
            self.q = Linear(width, queries, bias=False)
        else:
            self.q_down = Linear(width, query_latent, bias=bias)
            self.q_norm = RMSNorm(query_latent, eps=eps)
            self.q_up = Linear(query_latent, queries, bias=False)
        self.kv_down = Linear(width, latent + rotary_size, bias=bias, rows=(latent, rotary_size))
        self.kv_norm = RMSNorm(latent, eps=eps)
        self.kv_up = Linear(latent, heads * (self.head_size + self.value_size), bias=False)
        self.out = Linear(heads * self.value_size, width, bias=bias)
        if acts_on(position) == "scores":
            raise ValueError(f"{type(position).__name__} acts on the scores; latent attention turns its keys")
        self.rotary: nn.Module | None = None
        if position is not None and acts_on(position) == "heads":
            self.rotary = build(position, rotary_size)

    def forward(
        self,
        x: torch.Tensor,
        mask: AttentionMask | torch.Tensor | None = None,
        cache: LatentCache | None = None,
    ) -> torch.Tensor:
        """``mask``: what a position may see (left out: itself and those before it); ``cache``: of earlier
        positions, to which those of ``x`` are appended."""
        start = cache.length if cache is not None else 0
        if self.across is not None:
            start = self.across.start(x.shape[1])
        q, kept = self._queries(x, start), self._kept(x, start)
        if cache is not None:
            kept = cache.append(kept)
        absorbs = cache is not None and start
        y = (self._absorbed if absorbs else self._expanded)(q, kept, AttentionMask.of(mask))
        return self.out(y.transpose(1, 2).flatten(2))

    def divide(self, over: ContextParallel) -> None:
        """Each process gets the heads/count of all positions. Raises ValueError where heads cannot be dealt
        out."""
        if self.heads % over.count:
            raise ValueError(f"{self.heads} heads cannot be dealt out to {over.count} processes")
        self.across = over

    def _queries(self, x: torch.Tensor, start: int) -> torch.Tensor:
        """Queries (batch, heads, positions, head_size + rotary_size), the last part turned."""
        if self.query_latent is None:
            q = self.q(x)
        else:
            q = self.q_up(self.q_norm(self.q_down(x)))
        q = q.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        still, turn = q.split((self.head_size, self.rotary_size), dim=-1)
        return torch.cat((still, self._turn(turn, start)), dim=-1)

    def _kept(self, x: torch.Tensor, start: int) -> torch.Tensor:
        """[c ; r] of every position, (batch, positions, latent + rotary_size)."""
        c, r = self.kv_down(x).split((self.latent, self.rotary_size), dim=-1)
        return torch.cat((self.kv_norm(c), self._turn(r[:, None], start)[:, 0]), dim=-1)

    def _turn(self, x: torch.Tensor, start: int) -> torch.Tensor:
        return x if self.rotary is None else self.rotary(x, start)

    def _up(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Views of ``kv_up``'s weight: K (heads, head_size, latent) and V (heads, value_size, latent)."""
        keys, values = self.kv_up.weight.unflatten(0, (self.heads, -1)).split(
            (self.head_size, self.value_size), dim=1
        )
        return keys, values

    def _expanded(self, q: torch.Tensor, kept: torch.Tensor, mask: AttentionMask | None) -> torch.Tensor:
        """Attention with keys and values of every head: queries (batch, heads, T, ·) at the last T of the
        positions kept (batch, S, ·) → (batch, heads, T, value_size)."""
        c, r = kept.split((self.latent, self.rotary_size), dim=-1)
        up = self.kv_up(c).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = up.split((self.head_size, self.value_size), dim=-1)
        k = torch.cat((k, r[:, None].expand(-1, self.heads, -1, -1)), dim=-1)
        if self.across is None:
            return attend(q, k, v, scale=self.scale, mask=mask)
        q, k, v = (self.across.to_heads(part) for part in (q, k, v))
        return self.across.to_positions(attend(q, k, v, scale=self.scale, mask=mask))

    def _absorbed(self, q: torch.Tensor, kept: torch.Tensor, mask: AttentionMask | None) -> torch.Tensor:
        """The same with one key [c ; r] and one value c for all heads: K is multiplied into the queries
        and V into what comes out."""
        keys, values = (w.to(q.dtype) for w in self._up())
        still, turned = q.split((self.head_size, self.rotary_size), dim=-1)
        q = torch.cat((still @ keys, turned), dim=-1)
        k = kept[:, None]
        y = attend(q, k, k[..., : self.latent], scale=self.scale, mask=mask)
        return y @ values.transpose(1, 2)

    def cache(self, batch: int, length: int) -> LatentCache:
        """An empty cache for ``length`` positions."""
        return LatentCache(batch, length, self.latent + self.rotary_size)

    def cache_bytes(self, length: int, element: int) -> int:
        """Bytes held for one sequence of ``length`` positions, at ``element`` bytes a number."""
        return length * (self.latent + self.rotary_size) * element

    def value_path(self) -> list[torch.Tensor]:
        """The weights through which values flow, as views: V of every head, and ``out``. ``kv_down`` is
        left out: the norm that follows takes its scale away, and keys are made of it too."""
        return [*self._up()[1], self.out.weight]

    def shard(self) -> Plan:
        queries = Units(self.heads, self.head_size + self.rotary_size)
        return {
            "heads": Count(),
            "q" if self.query_latent is None else "q_up": Rows((queries,)),
            "kv_up": Rows((Units(self.heads, self.head_size + self.value_size),)),
            "out": Columns(Units(self.heads, self.value_size)),
        }

    def readers(self) -> list[Linear]:
        return [self.q if self.query_latent is None else self.q_down, self.kv_down]

    def flops(self, batch: int, length: int) -> int:
        """FLOPs of the matrix products of a forward pass over ``batch`` sequences in the expanded form: the
        projections and, in attention, every pair of positions (as for ``Attention``)."""
        maps = [self.kv_down, self.kv_up, self.out]
        maps += [self.q] if self.query_latent is None else [self.q_down, self.q_up]
        pair = 2 * self.heads * (self.head_size + self.rotary_size + self.value_size)
        return sum(m.flops(batch * length) for m in maps) + batch * length * length * pair

    def decoding_flops(self, length: int) -> int:
        """FLOPs of the last of ``length`` positions with a cache of those before it: in the absorbed form, or
        the expanded one where there are none."""
        if length == 1:
            return self.flops(1, 1)
        absorbed = 2 * self.heads * self.latent * (self.head_size + self.value_size)
        pair = 2 * self.heads * (2 * self.latent + self.rotary_size)
        small = 2 * self.heads * (self.head_size + self.rotary_size + self.value_size)
        return self.flops(1, 1) - small - self.kv_up.flops(1) + absorbed + length * pair
