"""Assembled networks: ``build(spec, vocabulary, context)`` makes one; ``generate`` writes with it."""

from danlu.models.decoder import Decoder
from danlu.models.encoder import Encoder
from danlu.models.encoder_decoder import EncoderDecoder
from danlu.models.generate import generate, pick
from danlu.nn.registry import build

Model = Decoder | Encoder | EncoderDecoder

__all__ = ["Decoder", "Encoder", "EncoderDecoder", "Model", "build", "generate", "pick"]
