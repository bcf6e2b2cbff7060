"""Tensors of a checkpoint and tensors of a danlu model: which is which, in tables readable both ways.

Whatever lies between them is one reversible step: theirs one under another, rows in another order, cut
into ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from danlu.interop.errors import InteropError
from danlu.interop.normal import Normal, get, layer

Tensors = dict[str, Tensor]


class Naming(Protocol):
    """What of a family (``danlu.interop.family``) is about the names of tensors."""

    @property
    def tensors(self) -> tuple[Map, ...]: ...
    @property
    def prefix(self) -> str: ...
    @property
    def embedding(self) -> str: ...
    @property
    def readout(self) -> str: ...
    @property
    def copies(self) -> Mapping[str, str]: ...
    @property
    def renamed(self) -> Mapping[str, str]: ...
    @property
    def unused(self) -> Mapping[str, str]: ...


# In danlu the factor of a norm is called gain.
_PARAMETERS = {"weight": "weight", "gain": "weight", "bias": "bias"}


@dataclass(frozen=True)
class Map:
    """Modules (or single tensors) of theirs ↔ of ours; ``{i}`` runs over the layers.

    Of a module, ``weight`` (a norm's ``gain``) and ``bias`` are taken over if the danlu model has them.
    Several of theirs are stacked, rows under rows, then cut into as many of ours: ``rows(n)`` tells how
    many rows each of theirs has (needed where they are several). ``transposed``: their matrices are
    (in, out). ``order(n)``: indices such that ours = theirs[order]. ``shape(n)``: of theirs, where ours has
    the same numbers in one row. ``when``: values of the normal form without which the row does not hold.
    """

    theirs: str | tuple[str, ...]
    ours: str | tuple[str, ...]
    transposed: bool = False
    order: Callable[[Normal], Tensor] | None = None
    rows: Callable[[Normal], Sequence[int]] | None = None
    shape: Callable[[Normal], Sequence[int]] | None = None
    when: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Move:
    """A map for one set of tensors: names, and what a map's functions gave for this layer."""

    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    transposed: bool
    order: Tensor | None
    rows: Sequence[int] | None
    shape: Sequence[int] | None

    def come(self, theirs: Sequence[Tensor], shapes: Sequence[torch.Size]) -> list[Tensor]:
        """Theirs → ours, which have ``shapes``. Raises InteropError where they don't fit."""
        given = [t.t() if self.transposed and t.ndim == 2 else t for t in theirs]
        if self.rows is not None and [len(t) for t in given] != list(self.rows):
            raise InteropError(
                f"{', '.join(self.theirs)}: {[len(t) for t in given]} rows, by config.json {list(self.rows)}"
            )
        stacked = torch.cat(given) if len(given) > 1 else given[0]
        if self.shape is not None and list(stacked.shape) == list(self.shape):
            stacked = stacked.flatten()
        if stacked.shape != (found := _stacked(shapes)):
            raise InteropError(
                f"{', '.join(self.theirs)}: shape {tuple(stacked.shape)}, and by config.json {tuple(found)}"
            )
        if self.order is not None:
            stacked = stacked[self.order]
        return list(stacked.split([s[0] for s in shapes])) if len(shapes) > 1 else [stacked]

    def go(self, ours: Sequence[Tensor]) -> list[Tensor]:
        """Ours → theirs."""
        stacked = torch.cat(list(ours)) if len(ours) > 1 else ours[0]
        if self.order is not None:
            stacked = stacked[torch.argsort(self.order)]
        if self.shape is not None:
            stacked = stacked.view(*self.shape)
        given = list(stacked.split(list(self.rows))) if self.rows is not None else [stacked]
        return [t.t() if self.transposed and t.ndim == 2 else t for t in given]


def _stacked(shapes: Sequence[torch.Size]) -> torch.Size:
    return torch.Size((sum(s[0] for s in shapes), *shapes[0][1:])) if len(shapes) > 1 else shapes[0]


def moves(maps: Sequence[Map], n: Normal, ours: Mapping[str, Any]) -> Iterator[Move]:
    """The maps that hold for ``n``, opened up for its layers and the tensors ``ours`` of its model."""
    for row in maps:
        for i in _layers(row, n):
            here = n if i is None else layer(n, i)
            if any(get(here, name) != value for name, value in row.when.items()):
                continue
            theirs, mine = (tuple(x.format(i=i) for x in _all(names)) for names in (row.theirs, row.ours))
            order = None if row.order is None else row.order(here)
            rows = None if row.rows is None else row.rows(here)
            shape = None if row.shape is None else row.shape(here)
            if all(name in ours for name in mine):
                yield Move(theirs, mine, row.transposed, order, rows, shape)
                continue
            for own, their in _PARAMETERS.items():
                named = tuple(f"{name}.{own}" for name in mine)
                if all(name in ours for name in named):
                    given = tuple(f"{t}.{their}" for t in theirs)
                    yield Move(given, named, row.transposed, order, rows, shape)


def _all(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def _layers(row: Map, n: Normal) -> Sequence[int | None]:
    first = _all(row.ours)[0]
    if "{i}" not in first:
        return [None]
    return range(n["encoder_layers"] if first.startswith("encoder.") else n["layers"])


def come(found: Tensors, maps: Sequence[Map], n: Normal, shapes: Mapping[str, torch.Size]) -> Tensors:
    """The danlu model's tensors of a checkpoint's. Every one of theirs is used once, every one of ours
    filled once; raises InteropError naming those that are not."""
    left, made = dict(found), Tensors()
    for move in moves(maps, n, shapes):
        if missing := [name for name in move.theirs if name not in left]:
            raise InteropError(f"the checkpoint lacks {some(missing)}, which config.json asks for")
        theirs = [left.pop(name) for name in move.theirs]
        for name, tensor in zip(move.theirs, theirs, strict=True):
            if not tensor.is_floating_point():
                raise InteropError(f"{name} is of {tensor.dtype}: danlu reads floating-point weights")
        for name, tensor in zip(move.ours, move.come(theirs, [shapes[o] for o in move.ours]), strict=True):
            if name in made:
                raise InteropError(f"{name} would be filled twice; a fault of the family's table")
            made[name] = tensor.float().contiguous()
    if left:
        raise InteropError(f"the checkpoint has {some(list(left))}, for which danlu has no place")
    if empty := [name for name in shapes if name not in made]:
        raise InteropError(f"the checkpoint has nothing for {some(empty)} of the danlu model")
    return made


def go(ours: Tensors, maps: Sequence[Map], n: Normal) -> Tensors:
    """A checkpoint's tensors of the danlu model's. Raises InteropError for one that the family lacks."""
    left, made = dict(ours), Tensors()
    for move in moves(maps, n, ours):
        tensors = move.go([left.pop(name) for name in move.ours])
        made |= {name: tensor.contiguous() for name, tensor in zip(move.theirs, tensors, strict=True)}
    if left:
        raise InteropError(f"the model has {some(list(left))}, for which this family has no place")
    return made


def canonical(found: Tensors, family: Naming, tied: bool) -> tuple[Tensors, bool, list[str]]:
    """Names as the family's table has them, copies removed; whether the readout is tied; notes.

    As transformers does, a readout that differs from the embedding is kept although the config ties them."""
    named = {_ending(name, family.renamed): tensor for name, tensor in found.items()}
    if family.prefix and not any(name.startswith(family.prefix) for name in named):
        theirs = {name for row in family.tensors for name in _all(row.theirs)}
        heads = {name.split(".")[0] for name in theirs if not name.startswith(family.prefix)}
        named = {n if n.split(".")[0] in heads else family.prefix + n: t for n, t in named.items()}
    notes = []
    for pattern, why in family.unused.items():
        gone = [name for name in named if re.search(pattern, name)]
        for name in gone:
            del named[name]
        if gone and why:
            notes.append(f"left out, {why}: {some(gone)}")
    for copy, original in family.copies.items():
        if copy in named and not _same(named, copy, original):
            raise InteropError(f"{copy} differs from {original}, and danlu has one tensor for both")
    if tied and family.readout in named and not _same(named, family.readout, family.embedding):
        tied = False
        notes.append(f"{family.readout} differs from the embedding although config.json ties them")
    return named, tied, notes


def _same(named: Tensors, copy: str, original: str) -> bool:
    """Whether they are equal, or only one of them is there; then only the original is left."""
    if original not in named:
        named[original] = named.pop(copy)
    elif not torch.equal(named[copy], named[original]):
        return False
    else:
        del named[copy]
    return True


def _ending(name: str, renamed: Mapping[str, str]) -> str:
    for old, new in renamed.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def some(names: Sequence[str]) -> str:
    """The first three of the names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
