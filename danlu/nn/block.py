"""A block: mixer and feed-forward on a residual stream, norms where the placement says."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn as nn

from danlu import spec
from danlu.nn.attention import CrossAttention
from danlu.nn.cache import Cache
from danlu.nn.contracts import FeedForward, Mixer, refuse_padding
from danlu.nn.given import Given
from danlu.nn.linear import Linear
from danlu.nn.masks import AttentionMask
from danlu.nn.no_mixer import NoMixer
from danlu.nn.registry import build, builds
from danlu.spec.base import Spec


class BlockCache:
    """What a block keeps of earlier positions: their number ``length``, which a block without a mixer counts
    too, its mixer's cache, and keys and values of a memory."""

    def __init__(self, mixer: Cache) -> None:
        self.mixer, self.length = mixer, 0
        self.memory: tuple[torch.Tensor, torch.Tensor] | None = None

    @property
    def bytes(self) -> int:
        """Bytes held."""
        return self.mixer.bytes + sum(t.numel() * t.element_size() for t in self.memory or ())


@builds(spec.Block)
class Block(nn.Module):
    """A mixer, attention over a memory where there is one (``cross``), and a feed-forward layer, each a
    branch f that joins the stream x by ``residual`` with norms by ``placement``:

    pre f(N(x)); post N(x + f(x)); double N(f(N(x))); output N(f(x)) (OLMo 2); parallel: mixer and
    feed-forward of the same N(x), summed (GPT-J); parallel-two: each of its own norm (GPT-NeoX).

    Args: the fields of ``spec.Block``; parts by the name of their kind, as mappings, specifications or
    modules. Of a module given as ``norm`` or ``residual`` each place gets a copy.
    Shapes: (batch, positions, width) → the same. Raises ValueError for what ``spec.Block`` refuses.

    >>> block = Block(64, mixer={"kind": "attention", "heads": 8}, feed_forward="glu", norm=nn.LayerNorm(64))
    >>> block(torch.randn(2, 10, 64)).shape
    torch.Size([2, 10, 64])
    >>> block = Block(64, norm="rmss")
    Traceback (most recent call last):
    ValueError: norm.kind = 'rmss' is not rms, layer, group, instance, batch, batch-renorm or none; did you mean rms?
    """  # noqa: E501 - the sentence as it is printed

    def __init__(
        self,
        width: int,
        *,
        mixer: Given = spec.Attention(),
        feed_forward: Given = spec.MLP(),
        norm: Given = spec.RMSNorm(),
        position: Given | None = None,
        placement: spec.Placement = "pre",
        residual: Given = spec.Plain(),
        bias: bool = False,
        dropout: float = 0.0,
        cross: Given | None = None,
    ) -> None:
        super().__init__()
        self.width, self.placement = width, placement
        self.parallel = placement.startswith("parallel")
        self.mixer: Mixer = build(mixer, width, position, bias=bias)
        self.mixes = not isinstance(self.mixer, NoMixer)
        there = {"mixer": self.mixes, "cross": cross is not None, "feed_forward": True}
        names = [name for name, is_there in there.items() if is_there]
        self.cross: CrossAttention | None = None
        if isinstance(cross, spec.Attention):
            self.cross = CrossAttention(width, bias=bias, **cross.settings())
        elif cross is not None:
            self.cross = build(cross)
        self.feed_forward: FeedForward = build(feed_forward, width, bias=bias)
        for name in names:
            if not (placement == "parallel" and name == "feed_forward"):
                setattr(self, f"{name}_norm", _one_of(norm, width))
            if placement == "double":
                setattr(self, f"{name}_out_norm", _one_of(norm, width))
            if not (self.parallel and name == "feed_forward"):
                setattr(self, f"{name}_residual", _one_of(residual, width))
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(
        self,
        x: torch.Tensor,
        mask: AttentionMask | torch.Tensor | None = None,
        cache: BlockCache | None = None,
        memory: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """``mask``: what a position may see (left out: itself and those before it), or bool (batch,
        positions), False for padding, which none may see. ``memory`` (batch, S, width) is what ``cross``
        attends to. Raises ValueError for padding where a norm is over positions."""
        if isinstance(mask, torch.Tensor):
            refuse_padding(self)
        mask = AttentionMask.of(mask)
        held = None
        if cache is not None:
            held = cache.mixer
            cache.length += x.shape[1]
        if self.parallel:
            h = self._run("mixer_norm", x)
            branch = self.mixer(h, mask, held)
            h = h if self.placement == "parallel" else self._run("feed_forward_norm", x)
            return self._run("mixer_residual", x, self.dropout(branch + self.feed_forward(h)))
        if self.mixes:
            x = self._join("mixer", x, self.mixer(self._before("mixer", x), mask, held))
        x = self._attend_to(x, cache, memory)
        return self._join("feed_forward", x, self.feed_forward(self._before("feed_forward", x)))

    def _attend_to(
        self, x: torch.Tensor, cache: BlockCache | None, memory: torch.Tensor | None
    ) -> torch.Tensor:
        if self.cross is None:
            return x
        if cache is not None and cache.memory is not None:
            k, v = cache.memory
        elif memory is None:
            raise ValueError("this block attends to a memory, and none was given")
        else:
            k, v = self.cross.keys_and_values(memory)
            if cache is not None:
                cache.memory = k, v
        return self._join("cross", x, self.cross.attend_to(self._before("cross", x), k, v))

    def _before(self, name: str, x: torch.Tensor) -> torch.Tensor:
        if self.placement in ("post", "output"):
            return x
        return self._run(f"{name}_norm", x)

    def _join(self, name: str, x: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
        if self.placement == "double":
            branch = self._run(f"{name}_out_norm", branch)
        elif self.placement == "output":
            branch = self._run(f"{name}_norm", branch)
        x = self._run(f"{name}_residual", x, self.dropout(branch))
        return self._run(f"{name}_norm", x) if self.placement == "post" else x

    def _run(self, name: str, *inputs: torch.Tensor) -> torch.Tensor:
        part: Callable[..., torch.Tensor] = getattr(self, name)
        return part(*inputs)

    def parts(self) -> list[Mixer | FeedForward]:
        """The branches: mixer, attention to the memory, feed-forward."""
        mixer = self.mixer if self.mixes else None
        return [part for part in (mixer, self.cross, self.feed_forward) if part is not None]

    def branch_ends(self) -> list[Linear]:
        """The last map of each residual branch, where initialisations act."""
        return [part.out for part in self.parts() if part.out is not None]

    def value_path(self) -> list[torch.Tensor]:
        """The weights that values flow through, in every branch."""
        return [weight for part in self.parts() for weight in part.value_path()]

    def cache(self, batch: int, length: int) -> BlockCache:
        """An empty cache for ``length`` positions."""
        return BlockCache(self.mixer.cache(batch, length))

    def cache_bytes(self, length: int, element: int, memory: int = 0) -> int:
        """Bytes that the cache holds for one sequence of ``length`` positions (and of ``memory`` positions to
        attend to), at ``element`` bytes a number."""
        cross = 0 if self.cross is None else self.cross.cache_bytes(memory, element)
        return self.mixer.cache_bytes(length, element) + cross

    def flops(self, batch: int, length: int, memory: int = 0) -> int:
        """FLOPs of the matrix products of a forward pass."""
        cross = 0 if self.cross is None else self.cross.flops_over(batch, length, memory)
        return self.mixer.flops(batch, length) + cross + self.feed_forward.flops(batch * length)

    def decoding_flops(self, length: int, memory: int = 0) -> int:
        """FLOPs of the last of ``length`` positions with a cache of those before it."""
        cross = 0 if self.cross is None else self.cross.decoding_flops(memory)
        return self.mixer.decoding_flops(length) + cross + self.feed_forward.flops(1)


def _one_of(given: Given, width: int) -> nn.Module:
    """One of several parts of a block: a copy of a module, for each its own."""
    part: nn.Module = build(given, width)
    return part if isinstance(given, Spec) else copy.deepcopy(part)
