"""Few bits for numbers: formats, quantisation while and after training.

formats (what a format is) · integers · floats · packing · quantized (tensors in few bits, formats by name) ·
ranges (what is clipped) · fake (straight-through gradients) · learned (LSQ, ParetoQ, PACT) · products (of
integers) · gptq · seams (where channels may be rescaled) · smooth (SmoothQuant, AWQ) · hadamard, rotations ·
calls (what comes into blocks) · trained (whole networks, block after block) · kept (in files) ·
rounded (at use) · cache (of keys and values).

Formats, fake quantisation and ``gptq`` work on ordinary tensors; the rest on danlu's blocks and models.
"""

from danlu.quantization.cache import RoundedKVCache, round_caches
from danlu.quantization.calls import first_calls, next_calls, watch
from danlu.quantization.fake import fake_quantize
from danlu.quantization.floats import FP8, MX, NF4, NVFP4, nf4
from danlu.quantization.formats import Format, Held, Per, Ranges, Scales, least_and_greatest, rows_of
from danlu.quantization.gptq import Moments, Rounded, gptq
from danlu.quantization.hadamard import hadamard, random_hadamard, random_orthogonal
from danlu.quantization.integers import Integers, Stretched, Ternary
from danlu.quantization.learned import LSQ, PACT, ParetoQ
from danlu.quantization.packing import pack, unpack
from danlu.quantization.products import integer_linear
from danlu.quantization.quantized import FORMATS, Quantized, named, quantize, relative_error
from danlu.quantization.ranges import LeastError, LeastOutputError, Percentile
from danlu.quantization.rotations import rotate, rotate_values, untie
from danlu.quantization.seams import Seam, inner_seams, norm_seams
from danlu.quantization.smooth import awq, smooth, smoothquant_scales
from danlu.quantization.trained import (
    AWQ,
    GPTQ,
    RTN,
    linear_maps,
    quantize_blocks,
    quantize_one_by_one,
    smooth_blocks,
)

__all__ = [
    "AWQ", "FORMATS", "FP8", "GPTQ", "LSQ", "MX", "NF4", "NVFP4", "PACT", "RTN", "Format", "Held",
    "Integers", "LeastError", "LeastOutputError", "Moments", "ParetoQ", "Per", "Percentile", "Quantized",
    "Ranges", "Rounded", "RoundedKVCache", "Scales", "Seam", "Stretched", "Ternary", "awq",
    "fake_quantize", "first_calls",
    "gptq", "hadamard", "inner_seams", "integer_linear", "least_and_greatest", "linear_maps", "named",
    "next_calls", "nf4", "norm_seams", "pack", "quantize", "quantize_blocks", "quantize_one_by_one",
    "random_hadamard", "random_orthogonal", "relative_error", "rotate", "rotate_values", "round_caches",
    "rows_of", "smooth",
    "smooth_blocks", "smoothquant_scales", "unpack", "untie", "watch",
]  # fmt: skip
