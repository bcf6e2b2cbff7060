"""Assembled networks: ``build(spec, vocabulary, context)`` makes one; ``generate`` writes with it."""

from danlu.models.decoder import Decoder
from danlu.models.generate import generate, pick
from danlu.nn.registry import build

__all__ = ["Decoder", "build", "generate", "pick"]
