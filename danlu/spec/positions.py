"""Specifications of positions; built by ``danlu.nn.positions``."""

from __future__ import annotations

from typing import Annotated, Literal

from danlu.spec.base import ByKind, PositiveFloat, PositiveInt, Shorthand, Spec


class Rotary(Spec):
    """Rotary positions (Su et al. 2021, eq. 34), applied to queries and keys.

    ``layout`` is the pairing of dimensions: ``half`` pairs i with i + d/2 (LLaMA, NeoX),
    ``interleaved`` pairs 2i with 2i + 1 (GPT-J).
    """

    kind: Literal["rotary"] = "rotary"
    base: PositiveFloat = 10000.0
    layout: Literal["half", "interleaved"] = "half"


class Learned(Spec):
    """A learned vector for every position, added to the embedding (GPT-2).

    ``length`` is the number of positions; left out, it is ``data.context``.
    """

    kind: Literal["learned"] = "learned"
    length: PositiveInt | None = None


class NoPosition(Spec):
    """No positions: a causal mask alone tells order (NoPE, Kazemnejad et al. 2023)."""

    kind: Literal["none"] = "none"


Position = Annotated[Rotary | Learned | NoPosition, ByKind, Shorthand]
