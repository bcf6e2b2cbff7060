"""Assembled networks: ``build(spec, *inputs)`` makes one (of text: vocabulary, context; of images: shape,
outputs); ``generate`` writes with it."""

from danlu.models.decoder import Decoder
from danlu.models.encoder import Encoder
from danlu.models.encoder_decoder import EncoderDecoder
from danlu.models.generate import generate, pick
from danlu.models.patches import Patches
from danlu.nn.registry import build

Model = Decoder | Encoder | EncoderDecoder | Patches

__all__ = ["Decoder", "Encoder", "EncoderDecoder", "Model", "Patches", "build", "generate", "pick"]
