"""Specifications: what every part, model, optimizer and run is called and may be. No torch here."""

from danlu.spec.base import Spec
from danlu.spec.data import Data
from danlu.spec.errors import DanluError, SpecError
from danlu.spec.experiment import Experiment
from danlu.spec.feed_forwards import GLU, MLP, FeedForward
from danlu.spec.mixers import Attention, Mixer, QKNorm
from danlu.spec.models import Decoder, Init, Model
from danlu.spec.norms import LayerNorm, Norm, RMSNorm
from danlu.spec.optim import AdamW, Muon, Optimizer, Schedule
from danlu.spec.positions import Learned, NoPosition, Position, Rotary
from danlu.spec.replay import difference, flatten, to_yaml
from danlu.spec.train import Train
from danlu.spec.words import resolve, validate

__all__ = [
    "GLU", "MLP", "AdamW", "Attention", "DanluError", "Data", "Decoder", "Experiment", "FeedForward", "Init",
    "LayerNorm", "Learned", "Mixer", "Model", "Muon", "NoPosition", "Norm", "Optimizer", "Position",
    "QKNorm", "RMSNorm", "Rotary", "Schedule", "Spec", "SpecError", "Train",
    "difference", "flatten", "resolve", "to_yaml", "validate",
]  # fmt: skip
