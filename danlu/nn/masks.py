"""Attention masks: what a position may see, as the model says; patterns of single layers narrow it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from danlu import spec
from danlu.nn.kept import kept

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

Span = tuple[int | str | None, ...]  # how a layer narrows what may be seen


@dataclass(frozen=True)
class AttentionMask:
    """What a position may see in every layer.

    ``causal``: a position sees itself and those before it, else all. ``prefix``: so many first positions see
    one another all the same. ``documents``: (batch, positions) integers; attention does not cross from one
    to another. ``tiles``: what FlexAttention takes, by the ``span`` of a layer, where it was made before.
    """

    causal: bool = True
    prefix: int = 0
    documents: torch.Tensor | None = None
    tiles: Mapping[Span, BlockMask | None] | None = None

    @classmethod
    def of(cls, mask: AttentionMask | torch.Tensor | None) -> AttentionMask:
        """The mask that is meant: None is the causal one, a tensor the causal one beside padding."""
        return mask if isinstance(mask, AttentionMask) else cls().padded(mask)

    def padded(self, mask: torch.Tensor | None) -> AttentionMask:
        """The same beside padding. ``mask``: bool (batch, positions), True for a position of the text, False
        for padding, which no position of the text sees; None: there is no padding.

        True means what it does in the ``attn_mask`` of PyTorch's scaled_dot_product_attention and 1 in
        Hugging Face's ``attention_mask``; ``key_padding_mask`` of ``torch.nn.MultiheadAttention`` is the
        opposite. Padding is a document of its own: what its positions become is finite and to be ignored.
        Raises ValueError for a mask of another type or shape.

        >>> both_ways = AttentionMask(causal=False).padded(torch.tensor([[True, True, False]]))
        >>> ~across_documents(MaskPattern(3, 3, causal=False), both_ways.documents)
        tensor([[[ True,  True, False],
                 [ True,  True, False],
                 [False, False,  True]]])
        """
        if mask is None:
            return self
        if mask.dtype != torch.bool or mask.ndim != 2:
            raise ValueError(
                f"mask is {str(mask.dtype).removeprefix('torch.')} of shape {tuple(mask.shape)}; it must be "
                "bool of (batch, positions), True for text and False for padding"
            )
        documents = torch.zeros_like(mask, dtype=torch.int64) if self.documents is None else self.documents
        padding = torch.iinfo(documents.dtype).min
        return replace(self, documents=documents.masked_fill(~mask, padding), tiles=None)


@dataclass(frozen=True)
class MaskPattern:
    """Which keys a query sees by their places alone: hashable, so that masks are made once.

    Query i stands at position ``offset`` + i, the keys at 0 … ``keys`` − 1.
    """

    queries: int
    keys: int
    causal: bool = True
    prefix: int = 0
    window: int | None = None
    sparse: spec.Sparse | None = None

    @property
    def offset(self) -> int:
        return self.keys - self.queries

    @property
    def span(self) -> Span:
        """The layer's own share of it, in numbers and words."""
        of = self.sparse
        return (self.window,) if of is None else (self.window, *of.model_dump().values())

    @property
    def full(self) -> bool:
        """Whether every query sees every key."""
        free = self.window is None and self.sparse is None
        return free and (not self.causal or self.queries == 1 or self.prefix >= self.keys)

    @property
    def plainly_causal(self) -> bool:
        """Whether this is the triangle that fused kernels know."""
        free = self.window is None and self.sparse is None and self.prefix <= 1
        return free and self.causal and self.offset == 0

    @property
    def masked(self) -> bool:
        """Whether a fused kernel must be told it in a mask."""
        return not (self.full or self.plainly_causal)

    def keys_of(self, start: int, stop: int) -> tuple[int, int]:
        """The range of keys outside which queries ``start`` to ``stop`` see nothing."""
        low, high = 0, self.keys
        if self.causal:
            high = min(
                self.keys, max(stop + self.offset, self.prefix if start + self.offset < self.prefix else 0)
            )
        if self.window is not None:
            low = max(0, start + self.offset - self.window + 1)
            high = min(high, stop + self.offset + self.window - 1)
        return low, high


@kept
def boolean_mask(pattern: MaskPattern, device: torch.device) -> torch.Tensor:
    """Boolean mask (queries, keys): True where the query may see the key.

    A window of w: the distance is less than w. Strided (Child et al. 2019): less than the stride, or a
    multiple of it. Fixed: the same block, or among the last columns of another.

    >>> boolean_mask(MaskPattern(queries=2, keys=4, window=2), torch.device("cpu"))
    tensor([[False,  True,  True, False],
            [False, False,  True,  True]])
    """
    i = torch.arange(pattern.queries, device=device)[:, None] + pattern.offset
    return sees(pattern, i, torch.arange(pattern.keys, device=device))


def sees(pattern: MaskPattern, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
    """Whether position ``i`` sees position ``j``: integers that broadcast → bool. The definition that every
    mask is made of."""
    if pattern.causal:
        mask = j <= i
        if pattern.prefix:
            mask = mask | ((i < pattern.prefix) & (j < pattern.prefix))
    else:
        mask = torch.ones_like(i + j, dtype=torch.bool)
    if pattern.window is not None:
        mask = mask & ((i - j).abs() < pattern.window)
    if isinstance(pattern.sparse, spec.Strided):
        mask = mask & (((i - j).abs() < pattern.sparse.stride) | ((i - j) % pattern.sparse.stride == 0))
    elif isinstance(pattern.sparse, spec.Fixed):
        block, columns = pattern.sparse.block, pattern.sparse.columns
        mask = mask & ((i // block == j // block) | (j % block >= block - columns))
    return mask


def across_documents(pattern: MaskPattern, documents: torch.Tensor | None) -> torch.Tensor | None:
    """Boolean (batch, queries, keys): True where query and key are of different documents."""
    if documents is None:
        return None
    ours = documents[:, pattern.offset :] if pattern.causal else documents
    return ours[:, :, None] != documents[:, None, :]


def visible_keys(pattern: MaskPattern, documents: torch.Tensor | None, device: torch.device) -> torch.Tensor:
    """How many keys each query sees: (queries,), or (batch, queries) with documents."""
    different = across_documents(pattern, documents)
    if different is not None or pattern.sparse is not None:
        seen = boolean_mask(pattern, device)
        return (seen if different is None else seen & ~different).sum(-1)
    i = torch.arange(pattern.queries, device=device) + pattern.offset  # no mask where none is needed
    high = torch.full_like(i, pattern.keys)
    if pattern.causal:
        high = torch.where(i < pattern.prefix, (i + 1).clamp(min=min(pattern.prefix, pattern.keys)), i + 1)
    if pattern.window is None:
        return high
    return high.minimum(i + pattern.window) - (i - pattern.window + 1).clamp(min=0)


@kept
def additive_mask(
    pattern: MaskPattern, start: int, stop: int, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """What hides the keys from queries ``start`` to ``stop`` when it is added to their scores: 0 where
    boolean_mask, −∞ elsewhere; (stop − start, keys of ``pattern.keys_of(start, stop)``)."""
    low, high = pattern.keys_of(start, stop)
    seen = boolean_mask(pattern, device)[start:stop, low:high]
    return torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill_(~seen, float("-inf"))
