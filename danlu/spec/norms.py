"""Specifications of normalisations; built by ``danlu.nn.norms``."""

from __future__ import annotations

from typing import Annotated, Literal

from danlu.spec.base import ByKind, PositiveFloat, Shorthand, Spec


class RMSNorm(Spec):
    """Root-mean-square norm (Zhang & Sennrich 2019, eq. 4)."""

    kind: Literal["rms"] = "rms"
    eps: PositiveFloat = 1e-5
    gain: bool = True


class LayerNorm(Spec):
    """Layer norm (Ba, Kiros & Hinton 2016, eq. 4)."""

    kind: Literal["layer"] = "layer"
    eps: PositiveFloat = 1e-5
    gain: bool = True
    bias: bool = False


Norm = Annotated[RMSNorm | LayerNorm, ByKind, Shorthand]
