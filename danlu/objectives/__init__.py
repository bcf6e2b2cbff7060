"""Tasks: what turns rows of text into examples, a loss and a metric.

base (what all have) · causal, prefix · masked · spans · language (what a prediction costs).
``build(spec, tokenizer, data)`` makes what a specification describes.
"""

from danlu.nn import build
from danlu.objectives.base import Example, Key, Losses, Objective, held_out_keys, training_keys
from danlu.objectives.causal import Causal, Prefix
from danlu.objectives.language import IGNORED, bits_per_byte, loss_sum, nats_sum, z_sum
from danlu.objectives.masked import Masked
from danlu.objectives.spans import Spans

__all__ = [
    "IGNORED",
    "Causal",
    "Example",
    "Key",
    "Losses",
    "Masked",
    "Objective",
    "Prefix",
    "Spans",
    "bits_per_byte",
    "build",
    "held_out_keys",
    "loss_sum",
    "nats_sum",
    "training_keys",
    "z_sum",
]  # fmt: skip
