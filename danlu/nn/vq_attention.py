"""Transformer-VQ (Lingle 2023, arXiv:2309.16354): attention over quantised keys, in linear time.

A key takes one of S values, so that the far keys that share one can be summed up: c equal scores s with
the values v₁ … v_c weigh as much as one score s + ln c with the values' mean.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F

from danlu import spec
from danlu.nn.codebook import Codebook
from danlu.nn.contracts import Mixer
from danlu.nn.given import Given
from danlu.nn.linear import Linear
from danlu.nn.masks import AttentionMask
from danlu.nn.norms import rms_norm
from danlu.nn.registry import builds
from danlu.nn.shares import Columns, Count, Plan, Rows, Summed, Units
from danlu.spec.compatible import check_mixer

WAVELENGTH = 100_000.0  # of the slowest sinusoid, over 2π; the paper's


class Queries(NamedTuple):
    """Both (B, H, T, d): what the keys are multiplied with, and what their distance is."""

    content: torch.Tensor
    distance: torch.Tensor


class Far(NamedTuple):
    """What is kept of far keys: how many fell on each code, ``counts`` (…, S), and the ``sums`` of their
    values (…, S, e). Float32 or above, whatever the values are."""

    counts: torch.Tensor
    sums: torch.Tensor


def attend_quadratic(q: Queries, k: torch.Tensor, v: torch.Tensor, relative: torch.Tensor) -> torch.Tensor:
    """Transformer-VQ's attention by its definition: causal softmax over all quantised keys, in O(T²).

    The score of query i and key j ≤ i is content_i·k_j, and + distance_i·relative_{i−j} where i − j ≤ L.
    Shapes: ``q`` and ``k`` (B, H, T, d), ``v`` (B, H, T, e), ``relative`` (H, L + 1, d) → (B, H, T, e).
    """
    i = torch.arange(k.shape[2], device=k.device)
    apart, longest = i[:, None] - i, relative.shape[1] - 1
    index = apart.clamp(0, longest).expand(*k.shape[:2], -1, -1)
    near = (q.distance @ relative.mT).gather(-1, index).masked_fill(apart > longest, 0.0)
    scores = (q.content @ k.mT + near).masked_fill(apart < 0, float("-inf"))
    return scores.softmax(dim=-1).to(v.dtype) @ v


def attend_blocks(
    q: Queries,
    k: torch.Tensor,
    v: torch.Tensor,
    codes: torch.Tensor,
    relative: torch.Tensor,
    far: Far,
    start: int = 0,
) -> torch.Tensor:
    """The same in O(T·(2L + S)): the present and the previous block of L positions key by key, everything
    before by code. Gradients reach far keys through ``codes`` and not through ``k``.

    Keys and values come as n + 1 blocks: the one before the first query's, then the n with queries.
    ``start`` is the first query's position in the text, so that it is number ``start % L`` of its block;
    where ``start < L`` the first of the blocks is before the text, and ignored, as are keys after the last
    query, but both must be finite.

    Shapes: ``q`` (B, H, T, d); ``k`` (B, H, (n + 1)·L, d), rows of ``codes`` (H, S, d); ``v`` (B, H,
    (n + 1)·L, e); ``relative`` (H, L + 1, d); ``far`` (B, H, n, S, …): what is before each of the n blocks
    and the one before it (``sum_up``) → (B, H, T, e) in the type of ``v``. All but ``v`` are float32 or
    above: a code that stands for thousands of keys has the logarithm of their number in its score.
    """
    block, n, length = relative.shape[1] - 1, far.counts.shape[2], q.content.shape[2]
    row = start % block
    rows, skipped = length, 0
    if n > 1:  # whole blocks of queries; in a single one only the rows that are asked for
        missing = (0, 0, row, n * block - row - length)
        if any(missing):
            q = Queries(*(F.pad(part, missing) for part in q))
        rows, skipped, row = block, row, 0
    near = _near(q, k, relative, rows, row)
    if start < block:
        near[:, :, 0, :, :block] = float("-inf")
    counts = far.counts[:, :, :, None]
    # ln 0 = −∞: a code that stands for no key gets no weight; counts have no gradient
    distant = (q.content @ codes.mT).unflatten(2, (n, rows)) + counts.log()
    weights = torch.cat((distant, near), dim=-1).softmax(dim=-1)
    distant, near = weights.split((codes.shape[1], 2 * block), dim=-1)
    means = (distant / counts.clamp(min=1)) @ far.sums
    y = means.to(v.dtype) + near.to(v.dtype) @ _windows(v, block)
    return y.flatten(2, 3)[:, :, skipped : skipped + length]


def _windows(x: torch.Tensor, block: int) -> torch.Tensor:
    """Each block with the one before it: (B, H, (n + 1)·L, d) → (B, H, n, 2L, d)."""
    x = x.unflatten(2, (-1, block))
    return torch.cat((x[:, :, :-1], x[:, :, 1:]), dim=3)


def _near(q: Queries, k: torch.Tensor, relative: torch.Tensor, rows: int, row: int) -> torch.Tensor:
    """Scores (B, H, n, rows, 2L) of each block's queries, from number ``row`` of the block on, with the
    keys of their own and the previous block; −∞ where a key is to come."""
    block = relative.shape[1] - 1
    near = (q.distance @ relative.flip(1).mT).unflatten(2, (-1, rows))  # the greatest distance first
    # Number c of query r is for key r + c. Rows of 2L + 1 numbers, read as rows of 2L, shift by one each
    # (Dai et al. 2019, appendix B). The L numbers appended to each row land on its keys to come or,
    # beyond the end, on the next row's first keys, which are farther than L: no term for them.
    r, c = (torch.arange(m, device=k.device) for m in (rows, block))
    to_come = row + r[:, None] + c + block + 1 < 2 * block
    rest = torch.zeros(rows, block, dtype=k.dtype, device=k.device).masked_fill_(to_come, float("-inf"))
    near = torch.cat((near, rest.expand(*near.shape[:3], -1, -1)), dim=-1).flatten(3)
    near = F.pad(near, (row, 0)) if row else near
    near = near[..., : rows * 2 * block].unflatten(3, (rows, 2 * block))
    keys = _windows(k, block).mT.flatten(0, 2)
    scores = torch.baddbmm(near.flatten(0, 2), q.content.unflatten(2, (-1, rows)).flatten(0, 2), keys)
    return scores.view(near.shape)


def sum_up(z: torch.Tensor, v: torch.Tensor, before: Far, block: int, windows: int, start: int) -> Far:
    """What is before each of ``windows`` windows of two blocks, the first of which begins with ``z``.

    Shapes: codes ``z`` (B, H, ≥ (windows − 1)·L), values ``v`` (…, e), ``before`` (B, H, S, …), of
    everything before them → (B, H, windows, S, …). Where ``start < L`` the first block is before the text
    and not counted.
    """
    absent = int(start < block)
    blocks = max(0, windows - 1 - absent)
    part = slice(absent * block, (absent + blocks) * block)
    z, v = z[:, :, part].unflatten(2, (blocks, block)), v[:, :, part].unflatten(2, (blocks, block))

    def running(first: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        batch, heads, codes, size = first.shape
        tables = batch * heads * blocks
        table = torch.arange(0, tables * codes, codes, device=z.device)
        row = (z.flatten(0, 2) + table[:, None]).flatten()
        x = x.reshape(-1, size).to(first.dtype)
        sums = first.new_zeros(tables * codes, size).scatter_add(0, row[:, None].expand_as(x), x)
        totals = [first] * min(windows, 1 + absent)
        for one in sums.view(batch, heads, blocks, codes, size).unbind(2):
            totals.append(totals[-1] + one)
        return torch.stack(totals, dim=2)  # twenty times as fast as cumsum over this dimension (measured)

    counts = running(before.counts[..., None], torch.ones_like(z, dtype=before.counts.dtype))
    return Far(counts.squeeze(-1), running(before.sums, v))


class VQCache:
    """What Transformer-VQ keeps of the positions seen: codes and values of the previous and the present
    block, counts and sums for everything before, so that its size is bounded whatever the length."""

    def __init__(self, block: int) -> None:
        self.block, self.length = block, 0
        self._held: tuple[torch.Tensor, torch.Tensor, Far] | None = None

    def held(self, v: torch.Tensor, codes: int) -> tuple[torch.Tensor, torch.Tensor, Far]:
        """Codes (B, H, L + length % L) and values of the last two blocks, and what is before them; when
        nothing was seen, a first block of zeros. ``v`` (B, H, …, e): of new positions."""
        if self._held is not None:
            return self._held
        exact = torch.promote_types(v.dtype, torch.float32)
        near, far = (*v.shape[:2], self.block), (*v.shape[:2], codes)
        z = torch.zeros(near, dtype=torch.int64, device=v.device)
        counts, sums = v.new_zeros(far, dtype=exact), v.new_zeros((*far, v.shape[-1]), dtype=exact)
        return z, v.new_zeros((*near, v.shape[-1])), Far(counts, sums)

    def keep(self, z: torch.Tensor, v: torch.Tensor, far: Far, length: int) -> None:
        """Hold these, the codes and values from one block before that of position ``length`` on."""
        keep = slice(0, self.block + length % self.block)
        # clones: slices would keep all that they are slices of
        self._held = (
            z[:, :, keep].detach().clone(),
            v[:, :, keep].detach().clone(),
            Far(far.counts.detach().clone(), far.sums.detach().clone()),
        )
        self.length = length

    @property
    def bytes(self) -> int:
        """Bytes held."""
        if self._held is None:
            return 0
        z, v, far = self._held
        return sum(t.numel() * t.element_size() for t in (z, v, *far))


@builds(spec.VQAttention, check_mixer)
class VQAttention(Mixer):
    """Transformer-VQ's attention (Lingle 2023), with heads as usual and without the paper's gate.

    q, k = RMSNorm(x W)·d^(−1/4) without gain; k̂ the code word nearest to k; score
    (q_i + u)·k̂_j, and + (q_i + w)·W_r r_{i−j} where i − j ≤ ``block``, with r the sinusoids of the distance
    and u, w learned: Transformer-XL's relative positions (Dai et al. 2019, section 3.3), in the paper's
    form. Farther keys have no positions, so that the linear form is exact, and the result depends
    neither on where blocks begin nor, but through the distances, on their size.

    Args:
        width: of the input and output.
        position: None or what acts on the embedding; a quantised key cannot be turned, so that others
            are refused.
        heads: number of heads; key_size, value_size: of one (default: width/heads).
        codes: code words of a head.
        block: L, positions of a block.
        decay: of the code words' moving averages, which ``codebook.after_update()`` moves.
        commitment: weight of ‖k − k̂‖², summed over heads and averaged over positions, in ``auxiliary``.
    Shapes: (batch, positions, width) → the same, in the type of the input; scores are float32 or above.
    """

    def __init__(
        self,
        width: int,
        position: Given | None = None,
        *,
        heads: int = 1,
        codes: int = 64,
        key_size: int | None = None,
        value_size: int | None = None,
        block: int = 32,
        decay: float = 0.99,
        commitment: float = 1e-4,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self._sinusoids: torch.Tensor
        self.heads, self.codes, self.block, self.commitment = heads, codes, block, commitment
        self.key_size, self.value_size = key_size or width // heads, value_size or width // heads
        self.scale = self.key_size**-0.25
        self.sizes = (heads * self.key_size, heads * self.key_size, heads * self.value_size)
        self.qkv = Linear(width, sum(self.sizes), bias=bias, rows=self.sizes)
        self.out = Linear(heads * self.value_size, width, bias=bias)
        self.relative = Linear(width + width % 2, heads * self.key_size, bias=False)
        # vectors rather than matrices: optimizers treat them as they treat gains
        self.content = nn.Parameter(torch.zeros(heads * self.key_size))
        self.distance = nn.Parameter(torch.zeros(heads * self.key_size))
        # Code words start shorter than keys, as in the paper's code (there 0.15 of their length): where they
        # are as long, a few that have moved to the keys' mean win nearly all (seen in a task of recall: 3
        # of 32 in use and the task not learned, with a quarter of the length 4 to 14 and learned).
        self.codebook = Codebook(heads, codes, self.key_size, decay=decay, scale=self.scale / 4)
        self.register_buffer("_sinusoids", sinusoids(block + 1, width + width % 2), persistent=False)
        self.auxiliary: torch.Tensor | None = None

    def forward(
        self, x: torch.Tensor, mask: AttentionMask | torch.Tensor | None = None, cache: VQCache | None = None
    ) -> torch.Tensor:
        """``mask``: what a position may see (left out: itself and those before it); ``cache``: of earlier
        positions, to which those of ``x`` are added.

        In training sets ``auxiliary``, the weighted commitment loss, and gathers for the codebook.
        Raises ValueError for a mask other than plainly causal.
        """
        mask = AttentionMask.of(mask)
        if not mask.causal or mask.prefix > 1 or mask.documents is not None:
            raise ValueError(
                "VQAttention sums up all blocks before its own: it can neither look ahead (an encoder, "
                "a prefix) nor keep documents or padding apart"
            )
        q, k, v = self._project(x)
        z, words = self.codebook(k)
        if self.training:
            self.auxiliary = self.commitment * (k - words.detach()).square().sum(dim=(1, 3)).mean()

        past = self.cache(*x.shape[:2]) if cache is None else cache
        start, block = past.length, self.block
        stop = start + x.shape[1]
        n, filler = -(-stop // block) - start // block, -stop % block
        old_z, old_v, before = past.held(v, self.codes)
        old_words = self.codebook.look_up(old_z).to(k.dtype)
        k, v, z = (_join(old, new, filler) for old, new in ((old_words, words), (old_v, v), (old_z, z)))
        done = stop // block - start // block  # blocks that no later query is beside
        windows = n if cache is None else max(n, done + 1)
        far = sum_up(z, v, before, block, windows, start)
        if cache is not None:
            rest = slice(done * block, None)
            last = Far(far.counts[:, :, done], far.sums[:, :, done])
            cache.keep(z[:, :, rest], v[:, :, rest], last, stop)
        far = Far(far.counts[:, :, :n], far.sums[:, :, :n])
        y = attend_blocks(q, k, v, self.codebook.codes.to(k.dtype), self._relative(k.dtype), far, start)
        return self.out(y.transpose(1, 2).flatten(2))

    def _project(self, x: torch.Tensor) -> tuple[Queries, torch.Tensor, torch.Tensor]:
        exact = torch.promote_types(x.dtype, torch.float32)
        parts = self.qkv(x).split(self.sizes, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        q, k = rms_norm(q.to(exact)), rms_norm(k.to(exact)) * self.scale
        u, w = (b.to(exact).view(self.heads, 1, -1) for b in (self.content, self.distance))
        return Queries((q + u) * self.scale, (q + w) * self.scale), k, v

    def _relative(self, dtype: torch.dtype) -> torch.Tensor:
        """W_r r of the distances 0 … L: (heads, L + 1, key_size)."""
        vectors = self.relative(self._sinusoids.to(dtype)).unflatten(-1, (self.heads, -1))
        return vectors.transpose(0, 1) * self.scale

    def cache(self, batch: int, length: int) -> VQCache:
        """An empty cache; its size does not depend on ``length``."""
        return VQCache(self.block)

    def cache_bytes(self, length: int, element: int) -> int:
        """Bytes held for one sequence after ``length`` positions, at ``element`` bytes a number: for a head
        less than 2L values and code numbers (of 8 bytes), and S sums and counts (of 4 at least)."""
        if not length:
            return 0
        near = (self.block + length % self.block) * (self.value_size * element + 8)
        far = self.codes * (self.value_size + 1) * max(element, 4)
        return self.heads * (near + far)

    def flops(self, batch: int, length: int) -> int:
        """FLOPs of the matrix products of a forward pass without a cache: the maps, the nearest code word,
        and for each position the code words and the keys and values of two blocks."""
        tokens, n = batch * length, -(-length // self.block)
        queries = tokens if n == 1 else batch * n * self.block
        maps = self.qkv.flops(tokens) + self.relative.flops(self.block + 1) + self.out.flops(tokens)
        nearest = 2 * tokens * self.codes * self.key_size
        distances = 2 * queries * (self.block + 1) * self.key_size
        pairs = 2 * queries * (2 * self.block + self.codes) * (self.key_size + self.value_size)
        return maps + self.heads * (nearest + distances + pairs)

    def decoding_flops(self, length: int) -> int:
        """FLOPs of the last of ``length`` positions with a cache of those before it."""
        return self.flops(1, 1)  # the code words and two blocks, however many positions they hold

    def value_path(self) -> list[torch.Tensor]:
        """The weights through which values flow."""
        return [self.qkv.weight[-self.sizes[2] :], self.out.weight]

    def shard(self) -> Plan:
        """By heads. A process gathers for the codebook what fell on the words of its own heads."""
        keys, values = Units(self.heads, self.key_size), Units(self.heads, self.value_size)
        tables = ("codes", "counts", "sums", "_new_counts", "_new_sums")
        return {
            "heads": Count(),
            "sizes": Count(),
            "qkv": Rows((keys, keys, values)),
            "relative": Rows((keys,)),
            "content": Rows((keys,)),
            "distance": Rows((keys,)),
            **{f"codebook.{table}": Rows((Units(self.heads),)) for table in tables},
            "codebook.perplexity": Summed(mean=True),
            "auxiliary": Summed(),
            "out": Columns(values),
        }

    def readers(self) -> list[Linear]:
        return [self.qkv]


def sinusoids(count: int, size: int) -> torch.Tensor:
    """sin and cos of the distances 0 … count − 1, float32 (count, size), size even; wavelengths are a
    geometric sequence up to nearly 2π·100,000."""
    rates = WAVELENGTH ** -(torch.arange(0, size, 2, dtype=torch.float64) / size)
    angles = torch.arange(count, dtype=torch.float64)[:, None] * rates
    return torch.cat((angles.sin(), angles.cos()), dim=-1).float()


def _join(old: torch.Tensor, new: torch.Tensor, filler: int) -> torch.Tensor:
    """Old positions, new ones and ``filler`` zeros: along dimension 2."""
    return torch.cat((old, new, new.new_zeros(*new.shape[:2], filler, *new.shape[3:])), dim=2)
