"""What a format is: numbers that share a scale as codes and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Per = Literal["tensor", "channel", "token"] | int
Held = Mapping[str, Tensor]  # what is kept beside the codes: scales, zeros, in the types that a file has


class Scales(NamedTuple):
    """A number is scale · (level − zero). Both float32 (rows, 1), one for each row of numbers that share it;
    ``zero`` holds integers, or is None for 0."""

    scale: Tensor
    zero: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Format(ABC):
    """A way to write numbers in few bits.

    ``per``: which numbers of a tensor share a scale: all of the ``tensor``; those of a ``channel``, one index
    of the first dimension (an output of a weight (out, in)); of a ``token``, one vector of the last
    dimension; or groups of so many neighbours in the last dimension.

    The methods work on ``rows`` (rows, size), which ``rows_of`` makes: each row has its own scale.
    """

    per: Per = "channel"

    @property
    @abstractmethod
    def name(self) -> str:
        """What ``danlu.quantization.named`` calls it."""

    @property
    @abstractmethod
    def levels(self) -> int:
        """How many codes there are."""

    @abstractmethod
    def hold(self, low: Tensor, high: Tensor) -> Held:
        """What is kept of rows whose numbers are to be told apart between ``low`` and ``high`` (rows,)."""

    @abstractmethod
    def scales(self, held: Held) -> Scales:
        """The scales that ``held`` stands for."""

    @abstractmethod
    def encode(self, rows: Tensor, scales: Scales) -> Tensor:
        """Codes (rows, size), uint8, of the nearest levels."""

    @abstractmethod
    def decode(self, codes: Tensor, scales: Scales) -> Tensor:
        """The numbers that codes (rows, size) stand for, float32."""

    @abstractmethod
    def inside(self, rows: Tensor, scales: Scales) -> Tensor:
        """Which numbers are not clipped: bool (rows, size). Up to half a step beyond the last level a number
        is rounded to it, as between levels."""

    def fit(self, rows: Tensor, ranges: Ranges | None = None) -> Held:
        """What is kept of ``rows``: from their least and greatest numbers, or from what ``ranges`` says."""
        return self.hold(*(least_and_greatest if ranges is None else ranges)(rows, self))

    def fixed(self, x: Tensor) -> Format:
        """This format with all that depends on the whole of ``x`` settled, so that parts of it can be fitted
        one after another."""
        return self

    def nearest(self, rows: Tensor, scales: Scales) -> Tensor:
        """Rows (rows, size) rounded to what the codes can hold, float32."""
        return self.decode(self.encode(rows, scales), scales)


# Of rows (rows, size) and a format: least and greatest number to tell apart, (rows,) each.
Ranges = Callable[[Tensor, Format], tuple[Tensor, Tensor]]


def least_and_greatest(rows: Tensor, format: Format) -> tuple[Tensor, Tensor]:
    """Nothing is clipped."""
    low, high = torch.aminmax(rows, dim=1)
    return low, high


def amax(low: Tensor, high: Tensor) -> Tensor:
    """The greatest absolute number of a range, in float32."""
    return torch.maximum(-low, high).clamp(min=0).float()


def positive(scale: Tensor) -> Tensor:
    """A scale to divide by: 1 where it is 0 (a row of zeros, which any scale holds exactly), and no less than
    what float32 can invert."""
    tiny = torch.finfo(torch.float32).tiny
    return torch.where(scale > 0, scale.clamp(min=tiny), torch.ones_like(scale))


def rows_of(x: Tensor, per: Per) -> Tensor:
    """A tensor as (rows, size), a row for each scale. Raises ValueError where a group does not divide the
    last dimension."""
    if per == "tensor":
        return x.reshape(1, -1)
    if per == "channel":
        return x.reshape(x.shape[0], -1)
    size = x.shape[-1]
    if per == "token":
        return x.reshape(-1, size)
    if per < 1 or size % per:
        allowed = ", ".join(str(n) for n in range(1, size + 1) if size % n == 0)
        raise ValueError(
            f"groups of {per} do not divide the last dimension, {size} numbers; allowed: {allowed}, or "
            "tensor, channel"
        )
    return x.reshape(-1, per)
