"""A trained network in few bits: ``danlu quantize``.

settings (which format, by what method) · prepared (the model rewritten before) · work (from a folder to a
report) · score (what it costs on held-out examples, in pairs).
"""

from danlu.lab.quantized.settings import Settings
from danlu.lab.quantized.work import Tell, quantize_folder

__all__ = ["Settings", "Tell", "quantize_folder"]
