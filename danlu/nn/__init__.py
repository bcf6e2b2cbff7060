"""Layers: ordinary ``nn.Module`` classes, each usable alone.

contracts (what each kind of part must offer) · norms · positions · attention (with its mask, kernels,
weights, gates, cache) · latent_attention · vq_attention · lru (with its scan) · feed_forwards · residuals ·
linear · block · safe · auxiliary · registry (``build(spec, …)`` makes what a specification describes).
"""

from danlu.nn.attention import Attention, CrossAttention
from danlu.nn.auxiliary import after_update, auxiliary, counting, skip_update, tell_rows
from danlu.nn.batch_renorm import BatchRenorm
from danlu.nn.block import Block, BlockCache
from danlu.nn.cache import KVCache
from danlu.nn.contracts import (
    EmbeddingPosition,
    FeedForward,
    HeadPosition,
    Mixer,
    Norm,
    Position,
    Residual,
    ScorePosition,
    prepare,
)
from danlu.nn.derivatives import pure
from danlu.nn.feed_forwards import GLU, MLP, squared_relu
from danlu.nn.folded import fold, fold_before
from danlu.nn.gates import ElementGate, HeadGate
from danlu.nn.kernels import attend
from danlu.nn.latent_attention import LatentAttention, LatentCache
from danlu.nn.linear import Embedding, Linear
from danlu.nn.lru import LRU, StateCache
from danlu.nn.masks import AttentionMask
from danlu.nn.no_mixer import NoMixer
from danlu.nn.norms import BatchNorm, FiLM, GroupNorm, InstanceNorm, LayerNorm, NoNorm, RMSNorm, rms_norm
from danlu.nn.positions import (
    ALiBi,
    Kerple,
    Learned,
    Relative,
    ReRotary,
    Rotary,
    Sandwich,
    Sinusoidal,
    T5Buckets,
    rotate,
)
from danlu.nn.registry import build, builds
from danlu.nn.residuals import Admin, DeepNorm, DepthScaled, Halved, LayerScale, NoResidual, Plain, ReZero
from danlu.nn.scan import scan
from danlu.nn.vq_attention import VQAttention
from danlu.nn.weights import Clipped, ReLUWeights, Sinks, SoftmaxOne

__all__ = [
    "GLU",
    "LRU",
    "MLP",
    "ALiBi",
    "Admin",
    "Attention",
    "AttentionMask",
    "BatchNorm",
    "BatchRenorm",
    "Block",
    "BlockCache",
    "Clipped",
    "CrossAttention",
    "DeepNorm",
    "DepthScaled",
    "ElementGate",
    "Embedding",
    "EmbeddingPosition",
    "FeedForward",
    "FiLM",
    "GroupNorm",
    "Halved",
    "HeadGate",
    "HeadPosition",
    "InstanceNorm",
    "KVCache",
    "Kerple",
    "LatentAttention",
    "LatentCache",
    "LayerNorm",
    "LayerScale",
    "Learned",
    "Linear",
    "Mixer",
    "NoMixer",
    "NoNorm",
    "NoResidual",
    "Norm",
    "Plain",
    "Position",
    "RMSNorm",
    "ReLUWeights",
    "ReRotary",
    "ReZero",
    "Relative",
    "Residual",
    "Rotary",
    "Sandwich",
    "ScorePosition",
    "Sinks",
    "Sinusoidal",
    "SoftmaxOne",
    "StateCache",
    "T5Buckets",
    "VQAttention",
    "after_update",
    "attend",
    "auxiliary",
    "build",
    "builds",
    "counting",
    "fold",
    "fold_before",
    "prepare",
    "pure",
    "rms_norm",
    "rotate",
    "scan",
    "skip_update",
    "squared_relu",
    "tell_rows",
]  # fmt: skip
