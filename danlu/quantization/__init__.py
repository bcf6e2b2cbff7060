"""Few bits for numbers: formats, quantisation while and after training.

formats (what a format is) · integers · floats · packing · quantized (tensors in few bits, formats by name) ·
ranges (what is clipped).

Everything works on ordinary tensors and ``nn.Linear``.
"""

from danlu.quantization.floats import FP8, MX, NF4, NVFP4, nf4
from danlu.quantization.formats import Format, Held, Per, Ranges, Scales, least_and_greatest, rows_of
from danlu.quantization.integers import Integers, Stretched, Ternary
from danlu.quantization.packing import pack, unpack
from danlu.quantization.quantized import FORMATS, Quantized, named, quantize, relative_error
from danlu.quantization.ranges import LeastError, LeastOutputError, Percentile

__all__ = [
    "FORMATS", "FP8", "MX", "NF4", "NVFP4", "Format", "Held", "Integers", "LeastError", "LeastOutputError",
    "Per", "Percentile", "Quantized", "Ranges", "Scales", "Stretched", "Ternary", "least_and_greatest",
    "named", "nf4", "pack", "quantize", "relative_error", "rows_of", "unpack",
]  # fmt: skip
