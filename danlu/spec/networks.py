"""All networks that an experiment may have."""

from __future__ import annotations

from typing import Annotated

from danlu.spec.base import ByKind, Shorthand
from danlu.spec.coordinate_networks import CoordinateMLP, LipschitzMLP, Siren
from danlu.spec.fields import FieldPatches, PointMLP, UNet
from danlu.spec.maxent import Maxent
from danlu.spec.models import Decoder, Encoder, EncoderDecoder, Patches
from danlu.spec.pairs import ImagePair, VectorPair

Model = Annotated[
    Decoder
    | Encoder
    | EncoderDecoder
    | Patches
    | PointMLP
    | UNet
    | FieldPatches
    | VectorPair
    | ImagePair
    | Maxent
    | Siren
    | CoordinateMLP
    | LipschitzMLP,
    ByKind,
    Shorthand,
]
