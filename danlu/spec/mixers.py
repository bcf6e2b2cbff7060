"""Specifications of mixers (what moves information between positions); built by ``danlu.nn``."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from danlu.spec.base import PositiveFloat, PositiveInt, Spec


class QKNorm(Spec):
    """Root-mean-square norm of queries and keys over the head, after the positions
    (``after``) or before them (``before``); ``gain`` gives each a learned gain."""

    when: Literal["before", "after"] = "before"
    eps: PositiveFloat = 1e-6
    gain: bool = False


class Attention(Spec):
    """Multi-head causal attention (Vaswani et al. 2017, eq. 1); with ``kv_heads`` fewer than
    ``heads``, grouped-query attention (Ainslie et al. 2023).

    ``window`` counts the visible positions, the present one included. ``scale`` multiplies
    q·k; left out, 1/√(head size).
    """

    kind: Literal["attention"] = "attention"
    heads: PositiveInt = 4
    kv_heads: PositiveInt | None = None
    head_size: PositiveInt | None = None
    window: PositiveInt | None = None
    qk_norm: QKNorm | None = None
    scale: PositiveFloat | None = None

    @model_validator(mode="after")
    def _groups(self) -> Attention:
        if self.kv_heads is not None and self.heads % self.kv_heads:
            raise ValueError(
                f"kv_heads = {self.kv_heads} does not divide heads = {self.heads}; "
                f"allowed: {', '.join(str(d) for d in range(1, self.heads + 1) if self.heads % d == 0)}"
            )
        return self


Mixer = Attention
