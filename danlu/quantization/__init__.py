"""Few bits for numbers: formats, quantisation while and after training.

formats (what a format is) · integers · floats · packing · quantized (tensors in few bits, formats by name) ·
ranges (what is clipped) · fake (straight-through gradients) · learned (LSQ, ParetoQ, PACT) · products (of
integers).

Everything works on ordinary tensors and ``nn.Linear``.
"""

from danlu.quantization.fake import fake_quantize
from danlu.quantization.floats import FP8, MX, NF4, NVFP4, nf4
from danlu.quantization.formats import Format, Held, Per, Ranges, Scales, least_and_greatest, rows_of
from danlu.quantization.hadamard import hadamard, random_hadamard, random_orthogonal
from danlu.quantization.integers import Integers, Stretched, Ternary
from danlu.quantization.learned import LSQ, PACT, ParetoQ
from danlu.quantization.packing import pack, unpack
from danlu.quantization.products import integer_linear
from danlu.quantization.quantized import FORMATS, Quantized, named, quantize, relative_error
from danlu.quantization.ranges import LeastError, LeastOutputError, Percentile
from danlu.quantization.rotations import rotate, rotate_values, untie

__all__ = [
    "FORMATS", "FP8", "LSQ", "MX", "NF4", "NVFP4", "PACT", "Format", "Held", "Integers", "LeastError",
    "LeastOutputError", "ParetoQ", "Per", "Percentile", "Quantized", "Ranges", "Scales", "Stretched",
    "Ternary", "fake_quantize", "hadamard", "integer_linear", "least_and_greatest", "named", "nf4",
    "pack", "quantize", "random_hadamard", "random_orthogonal", "relative_error", "rotate",
    "rotate_values", "rows_of", "unpack", "untie",
]  # fmt: skip
