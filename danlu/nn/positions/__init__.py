"""Positions: where a token stands, told to the model in one of three places.

embedding: absolute (vectors added to it) · heads: rotary (queries and keys turned; scaling stretches it to
longer contexts), rerope (turned by a bounded distance) · scores: biases (numbers added to them).
"""

from danlu.nn.positions.absolute import Learned, Sinusoidal
from danlu.nn.positions.biases import ALiBi, Kerple, Relative, Sandwich, T5Buckets
from danlu.nn.positions.rerope import ReRotary
from danlu.nn.positions.rotary import Rotary, rotate
from danlu.nn.positions.scaling import NTK, Interpolation, Llama3, YaRN

__all__ = [
    "NTK", "ALiBi", "Interpolation", "Kerple", "Learned", "Llama3", "ReRotary", "Relative", "Rotary",
    "Sandwich", "Sinusoidal", "T5Buckets", "YaRN", "rotate",
]  # fmt: skip
