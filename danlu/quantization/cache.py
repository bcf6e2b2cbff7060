"""Caches of keys and values in few bits (KIVI, Liu et al. 2024, arXiv:2402.02750)."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn as nn
from torch import Tensor

from danlu.nn import Attention, Block
from danlu.nn.cache import KVCache
from danlu.quantization.formats import Per
from danlu.quantization.integers import Integers
from danlu.quantization.quantized import Quantized, quantize

GROUP = 32  # tokens that share a scale of keys, channels that share one of values
LAST = 32  # tokens at the end that stay exact, at least


class RoundedKVCache(KVCache):
    """A ``KVCache`` that keeps old positions in ``bits``: keys before their positions turn them, each channel
    by a scale and a zero for ``GROUP`` tokens (section 3.2); values by such for ``GROUP`` channels of a
    token. Exact are the first token, which attention often goes to, and the last ``last`` to
    ``last + GROUP − 1``.

    What comes back is the numbers that the codes stand for, made anew at every step: it saves memory, not
    time. Where ``GROUP`` does not divide a head, a whole value has one scale.
    """

    unturned = True

    def __init__(
        self, batch: int, heads: int, length: int, size: int, *, bits: int = 4, last: int = LAST
    ) -> None:
        super().__init__(batch, heads, length, size)
        self.last = last
        half = torch.float16
        self._of_keys = Integers(bits=bits, grid="affine", per=GROUP, scale_type=half)
        values: Per = "token" if size % GROUP else GROUP
        self._of_values = Integers(bits=bits, grid="affine", per=values, scale_type=half)
        self._old: list[tuple[Quantized, Quantized]] = []  # of GROUP tokens each
        self._first: tuple[Tensor, Tensor] | None = None
        self._exact: tuple[Tensor, Tensor] | None = None

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        stop = self.length + k.shape[2]
        if stop > self.limit:
            raise ValueError(f"the cache holds {self.limit} positions; {stop} were asked for")
        self.length = stop
        if self._first is None:
            self._first = _alone(k[:, :, :1]), _alone(v[:, :, :1])
            k, v = k[:, :, 1:], v[:, :, 1:]
        if self._exact is not None:
            k, v = (torch.cat(pair, dim=2) for pair in zip(self._exact, (k, v), strict=True))
        while k.shape[2] >= self.last + GROUP:
            keys = quantize(k[:, :, :GROUP].transpose(2, 3).contiguous(), self._of_keys)
            self._old.append((keys, quantize(v[:, :, :GROUP].contiguous(), self._of_values)))
            k, v = k[:, :, GROUP:], v[:, :, GROUP:]
        self._exact = _alone(k), _alone(v)
        old = [(one.dequantize().transpose(2, 3).to(k), other.dequantize().to(v)) for one, other in self._old]
        keys_of, values_of = zip(self._first, *old, self._exact, strict=True)
        return torch.cat(keys_of, dim=2), torch.cat(values_of, dim=2)

    @property
    def bytes(self) -> int:
        exact = [t for pair in (self._first, self._exact) for t in pair or ()]
        return sum(t.numel() * t.element_size() for t in exact) + sum(
            q.bytes for pair in self._old for q in pair
        )


def _alone(x: Tensor) -> Tensor:
    """``x`` in memory of its own: a view would keep what it is a part of."""
    return x.clone(memory_format=torch.contiguous_format)


def round_caches(model: nn.Module, bits: int) -> int:
    """Let the attention layers of ``model`` that keep all positions have ``RoundedKVCache``; gives their
    number. Raises ValueError for other bits than 2 to 8, and where there is no such layer."""
    Integers(bits=bits)  # refuses
    mixers = [block.mixer for block in model.modules() if isinstance(block, Block)]
    found = [mixer for mixer in mixers if isinstance(mixer, Attention) and mixer.window is None]
    if not found:
        raise ValueError(
            "no layer keeps the keys and values of all positions: there is no cache to round; leave it out"
        )
    for mixer in found:
        mixer.cache = partial(_empty, mixer.kv_heads, mixer.size, bits)  # type: ignore[method-assign]
    return len(found)


def _empty(heads: int, size: int, bits: int, batch: int, length: int) -> RoundedKVCache:
    return RoundedKVCache(batch, heads, length, size, bits=bits)
