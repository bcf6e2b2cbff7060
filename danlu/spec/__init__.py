"""Specifications: what every part, model, optimizer and run is called and may be. No torch here."""

from danlu.spec.attention import (
    Attention,
    Clipped,
    ElementGate,
    Fixed,
    Gate,
    HeadGate,
    QKNorm,
    Sinks,
    Softmax,
    SoftmaxOne,
    Sparse,
    Strided,
    Weights,
)
from danlu.spec.base import Spec
from danlu.spec.data import Data
from danlu.spec.errors import DanluError, SpecError
from danlu.spec.experiment import Experiment
from danlu.spec.feed_forwards import GLU, MLP, FeedForward
from danlu.spec.mixers import LRU, LatentAttention, Mixer, VQAttention
from danlu.spec.models import Decoder, Encoder, EncoderDecoder, Init, Layer, Model, Network, Parts
from danlu.spec.norms import BatchNorm, FiLM, GroupNorm, InstanceNorm, LayerNorm, Norm, RMSNorm
from danlu.spec.optim import AdamW, Muon, Optimizer, Schedule
from danlu.spec.positions import (
    NTK,
    ALiBi,
    Interpolation,
    Kerple,
    Learned,
    Llama3,
    NoPosition,
    Position,
    Relative,
    ReRotary,
    Rotary,
    Sandwich,
    Scaling,
    Sinusoidal,
    T5Buckets,
    YaRN,
)
from danlu.spec.replay import difference, flatten, to_yaml
from danlu.spec.residuals import DeepNorm, Halved, LayerScale, Placement, Plain, Residual, ReZero
from danlu.spec.tasks import Causal, Masked, Prefix, Spans, Task
from danlu.spec.train import Train
from danlu.spec.words import resolve, validate

__all__ = [
    "GLU", "LRU", "MLP", "NTK", "ALiBi", "AdamW", "Attention", "BatchNorm", "Causal", "Clipped", "DanluError",
    "Data", "Decoder", "DeepNorm", "ElementGate", "Encoder", "EncoderDecoder", "Experiment", "FeedForward",
    "FiLM", "Fixed", "Gate", "GroupNorm", "Halved", "HeadGate", "Init", "InstanceNorm", "Interpolation",
    "Kerple", "LatentAttention", "Layer", "LayerNorm", "LayerScale", "Learned", "Llama3", "Masked", "Mixer",
    "Model", "Muon", "Network", "NoPosition", "Norm", "Optimizer", "Parts", "Placement", "Plain", "Position",
    "Prefix", "QKNorm", "RMSNorm", "ReRotary", "ReZero", "Relative", "Residual", "Rotary", "Sandwich",
    "Scaling", "Schedule", "Sinks", "Sinusoidal", "Softmax", "SoftmaxOne", "Spans", "Sparse", "Spec",
    "SpecError", "Strided", "T5Buckets", "Task", "Train", "VQAttention", "Weights", "YaRN",
    "difference", "flatten", "resolve", "to_yaml", "validate",
]  # fmt: skip
