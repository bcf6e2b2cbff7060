"""Assembled networks: ``build(spec, *inputs)`` makes one (of text: vocabulary, context; of images: shape,
outputs; of coordinates: how many, and how many values); ``generate`` writes with it, and ``unmask`` with an
encoder."""

from danlu.models.coordinate_networks import CoordinateMLP, LipschitzMLP, Siren
from danlu.models.decoder import Decoder
from danlu.models.encoder import Encoder
from danlu.models.encoder_decoder import EncoderDecoder
from danlu.models.field_patches import FieldPatches
from danlu.models.generate import generate, pick
from danlu.models.maxent import Maxent
from danlu.models.pairs import ImagePair, VectorPair
from danlu.models.patches import Patches
from danlu.models.point_mlp import PointMLP
from danlu.models.unet import UNet
from danlu.models.unmask import unmask
from danlu.nn.registry import build

Transformer = Decoder | Encoder | EncoderDecoder | Patches
CoordinateNetwork = Siren | CoordinateMLP | LipschitzMLP
Model = Transformer | PointMLP | UNet | FieldPatches | Maxent | VectorPair | ImagePair | CoordinateNetwork

__all__ = [
    "CoordinateMLP", "CoordinateNetwork", "Decoder", "Encoder", "EncoderDecoder", "FieldPatches",
    "ImagePair", "LipschitzMLP", "Maxent", "Model", "Patches", "PointMLP", "Siren", "Transformer", "UNet",
    "VectorPair", "build", "generate", "pick", "unmask",
]  # fmt: skip
