"""Positions: where a token stands, told to the model in one of four places.

absolute (vectors added to the embedding) · rotary (queries and keys turned; scaling stretches it to longer
contexts) · rerope (turned by a bounded distance) · biases (numbers added to the scores).
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
