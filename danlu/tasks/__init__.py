"""Tasks: what turns rows of text into examples, a loss and a metric.

base (what all have) · causal, prefix · masked · spans · language (what a prediction costs).
``build(spec, tokenizer, data)`` makes what a specification describes.
"""

from danlu.nn import build
from danlu.tasks.base import Example, Key, Losses, Task, held_out_keys, training_keys
from danlu.tasks.causal import Causal, Prefix
from danlu.tasks.language import IGNORED, bits_per_byte, loss_sum, nats_sum, z_sum
from danlu.tasks.masked import Masked
from danlu.tasks.spans import Spans

__all__ = [
    "IGNORED", "Causal", "Example", "Key", "Losses", "Masked", "Prefix", "Spans", "Task", "bits_per_byte",
    "build", "held_out_keys", "loss_sum", "nats_sum", "training_keys", "z_sum",
]  # fmt: skip
