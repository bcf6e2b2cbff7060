"""Layers that several processes compute together: what a part says of itself, and how it is carried out.

A part says which of its numbers belong to heads, hidden units or channels (``shard``): a mapping from names
inside of it to ``Rows``, ``Columns``, ``Count``, ``First`` or ``Summed``. ``divide`` lets a process compute
its share of these units: while the part runs, its weights are the rows and columns of them, views of the
whole, and what it gives is the sum over processes. What is not named, and a part that says nothing, is
computed alike by all.

Weights stay whole outside of the part, as DDP keeps them and as FSDP2 gathers them, so that what is saved,
how it is drawn and what rules do with it know nothing of shares. Two things make gradients right without
more: of a sum over processes the backward pass is the sum of the gradients; and the gradient of every
parameter is summed over all processes (``danlu.train.mesh``), of which each has the part that went through
its own share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, NamedTuple

import torch
import torch.nn as nn


@dataclass(frozen=True)
class Units:
    """``count`` units of ``size`` numbers each, one behind another. ``shared``: fewer than processes will do,
    of which several then have the same one (keys and values of grouped queries)."""

    count: int
    size: int = 1
    shared: bool = False


class Rows(NamedTuple):
    """Of a linear map, or of a parameter or buffer: the first dimension holds blocks of units."""

    blocks: tuple[Units, ...]


class Columns(NamedTuple):
    """Of a linear map: its inputs are units, and its outputs are summed over processes."""

    units: Units


class Count(NamedTuple):
    """An attribute that counts units, or a tuple of sizes that are multiples of their number."""

    shared: bool = False


@dataclass(frozen=True)
class First:
    """An attribute: the number of the first unit that is here, of so many; 0 where all are."""

    count: int


class Summed(NamedTuple):
    """An attribute that the part sets to a tensor as it runs: a sum over units (``mean``: a mean)."""

    mean: bool = False


Plan = Mapping[str, Rows | Columns | Count | First | Summed]


class Share:
    """The share of process ``rank`` of ``count``, which talk through ``group``."""

    def __init__(self, rank: int, count: int, group: Any = None) -> None:
        self.rank, self.count, self.group = rank, count, group

    def of(self, units: Units) -> range:
        """The units that are this process's. Raises ValueError where they cannot be divided evenly."""
        if units.count % self.count == 0:
            each = units.count // self.count
            return range(self.rank * each, (self.rank + 1) * each)
        if units.shared and self.count % units.count == 0:
            mine = self.rank // (self.count // units.count)
            return range(mine, mine + 1)
        raise ValueError(f"{units.count} cannot be divided among train.mesh.tensor = {self.count} processes")

    def slice(self, units: Units) -> slice:
        """Where the numbers of its units are."""
        mine = self.of(units)
        return slice(mine.start * units.size, mine.stop * units.size)

    def part(self, x: torch.Tensor, dim: int) -> torch.Tensor:
        """Of a tensor that all have, the places along ``dim`` that are this one's; they need not divide."""
        return x.tensor_split(self.count, dim)[self.rank]

    def sum(self, x: torch.Tensor) -> torch.Tensor:
        """The sum over the processes; so is the gradient, as each has a part in every other's sum."""
        total: torch.Tensor = _Sum.apply(x, self)
        return total

    def add(self, x: torch.Tensor) -> None:
        """Put the sum over the processes in the place of ``x``."""
        torch.distributed.all_reduce(x, group=self.group)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, share: Share) -> torch.Tensor:
        ctx.share = share
        total = x.clone(memory_format=torch.contiguous_format)
        share.add(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return _Sum.apply(grads[0], ctx.share), None


def divide(parts: Iterable[nn.Module], share: Share) -> int:
    """Let each of ``parts`` that says how compute its ``share``; returns how many do. Raises ValueError where
    one cannot be divided so."""
    count = 0
    for part in parts:
        plan: Plan | None = getattr(part, "shard", lambda: None)()
        if plan is not None:
            _Divided(part, plan, share)
            count += 1
    return count


class _Divided:
    """A part that computes its share in the methods that others call."""

    def __init__(self, part: nn.Module, plan: Plan, share: Share) -> None:
        self.part, self.share = part, share
        self.tensors: list[tuple[nn.Module, str, Callable[[torch.Tensor], torch.Tensor]]] = []
        self.values: list[tuple[nn.Module, str, Any]] = []
        self.made: list[tuple[nn.Module, str, bool]] = []
        for name, what in plan.items():
            try:
                self._plan(name, what)
            except ValueError as error:
                raise ValueError(f"{type(part).__name__}, {name}: {error}") from None
        for method in getattr(part, "shard_in", ("forward",)):
            setattr(part, method, self._inside(getattr(part, method)))

    def _plan(self, name: str, what: Any) -> None:
        where, _, attribute = name.rpartition(".")
        owner = self.part.get_submodule(where)
        if isinstance(what, Summed):
            self.made.append((owner, attribute, what.mean))
        elif isinstance(what, First):
            self.values.append((owner, attribute, self.share.of(Units(what.count)).start))
        elif isinstance(what, Count):
            self.values.append((owner, attribute, self._count(getattr(owner, attribute), what.shared)))
        elif isinstance(what, Columns):
            linear = self.part.get_submodule(name)
            place, count = self.share.slice(what.units), self.share.count
            self.tensors.append((linear, "weight", lambda w: w[:, place]))
            if linear.bias is not None:  # each adds its part of it
                self.tensors.append((linear, "bias", lambda b: b / count))
            self.values.append((linear, "forward", self._summed(linear.forward)))
        else:
            cut = partial(_rows, self._places(what.blocks))
            if isinstance(getattr(owner, attribute), nn.Module):
                owner = self.part.get_submodule(name)
                names = [n for n in ("weight", "bias") if getattr(owner, n) is not None]
            else:
                names = [attribute]
            self.tensors += [(owner, n, cut) for n in names]

    def _count(self, whole: Any, shared: bool) -> Any:
        if isinstance(whole, tuple):
            return tuple(self._count(one, shared) for one in whole)
        return len(self.share.of(Units(whole, shared=shared)))

    def _places(self, blocks: tuple[Units, ...]) -> list[slice]:
        places, begin = [], 0
        for units in blocks:
            mine = self.share.slice(units)
            places.append(slice(begin + mine.start, begin + mine.stop))
            begin += units.count * units.size
        return places

    def _summed(self, forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        return lambda x: self.share.sum(forward(x))

    def _inside(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def run(*args: Any, **named: Any) -> Any:
            with self._cut():
                return method(*args, **named)

        return run

    @contextmanager
    def _cut(self) -> Iterator[None]:
        """Within, the part is this process's share of itself: what stands in the instance's own dictionary is
        found before the parameters and buffers of a module."""
        before: list[tuple[dict[str, Any], str, bool, Any]] = []

        def put(owner: nn.Module, name: str, value: Any) -> None:
            held = owner.__dict__
            before.append((held, name, name in held, held.get(name)))
            held[name] = value

        try:
            for owner, name, cut in self.tensors:
                put(owner, name, cut(getattr(owner, name)))
            for owner, name, value in self.values:
                put(owner, name, value)
            yield
            for owner, name, mean in self.made:
                found = getattr(owner, name)
                if isinstance(found, torch.Tensor):
                    total = self.share.sum(found)
                    setattr(owner, name, total / self.share.count if mean else total)
        finally:
            for held, name, was, value in reversed(before):
                if was:
                    held[name] = value
                else:
                    del held[name]


def _rows(places: list[slice], whole: torch.Tensor) -> torch.Tensor:
    return whole[places[0]] if len(places) == 1 else torch.cat([whole[place] for place in places])
