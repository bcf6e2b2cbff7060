"""Objectives: where examples come from, what they cost a network, and what counts.

base (the interface) · language (what all on text have) · causal, prefix · masked · masked_diffusion ·
backcopy · spans · classify (images) · numbers, generation (what all on points and images have) ·
flow, denoise · autoencode · maxent (labelled rows) · fit (signals).
``build(spec, source)`` makes what a specification describes of what ``danlu.data.prepare`` gives.
"""

from danlu.nn import build
from danlu.objectives.autoencode import Autoencode
from danlu.objectives.backcopy import BigramBackcopy
from danlu.objectives.base import Draw, Example, HeldOut, Losses, Objective, Sample, check_passes
from danlu.objectives.causal import Causal, Prefix
from danlu.objectives.classify import Classify
from danlu.objectives.denoise import Denoise
from danlu.objectives.fit import Fit
from danlu.objectives.flow import Flow
from danlu.objectives.generation import Generation
from danlu.objectives.language import (
    IGNORED,
    Language,
    bits_per_byte,
    held_out_keys,
    loss_sum,
    nats_sum,
    training_keys,
    z_sum,
)
from danlu.objectives.masked import Masked
from danlu.objectives.masked_diffusion import MaskedDiffusion
from danlu.objectives.maxent import MaximumEntropy
from danlu.objectives.spans import Spans

__all__ = [
    "IGNORED", "Autoencode", "BigramBackcopy", "Causal", "Classify", "Denoise", "Draw", "Example", "Fit",
    "Flow", "Generation", "HeldOut", "Language", "Losses", "Masked", "MaskedDiffusion", "MaximumEntropy",
    "Objective", "Prefix", "Sample", "Spans",
    "bits_per_byte", "build", "check_passes", "held_out_keys", "loss_sum", "nats_sum", "training_keys",
    "z_sum",
]  # fmt: skip
