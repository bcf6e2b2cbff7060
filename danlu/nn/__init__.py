"""Layers: ordinary ``nn.Module`` classes, each usable alone.

norms · positions · attention (with its scope, kernels, weights, gates, cache) · latent_attention ·
vq_attention · lru (with its scan) · feed_forwards · residuals · linear · block · safe · auxiliary ·
registry (``build(spec, …)`` makes what a specification describes).
"""

from danlu.nn.attention import Attention, CrossAttention
from danlu.nn.auxiliary import after_update, auxiliary
from danlu.nn.block import Block, BlockCache
from danlu.nn.cache import KVCache
from danlu.nn.feed_forwards import GLU, MLP, squared_relu
from danlu.nn.gates import ElementGate, HeadGate
from danlu.nn.kernels import attend
from danlu.nn.linear import Embedding, Linear
from danlu.nn.norms import LayerNorm, RMSNorm, rms_norm
from danlu.nn.positions import Learned, Rotary, rotate
from danlu.nn.registry import build, builds
from danlu.nn.residuals import DeepNorm, Halved, LayerScale, Plain, ReZero
from danlu.nn.scope import Scope
from danlu.nn.weights import Clipped, Sinks, SoftmaxOne

__all__ = [
    "GLU",
    "MLP",
    "Attention",
    "Block",
    "BlockCache",
    "Clipped",
    "CrossAttention",
    "DeepNorm",
    "ElementGate",
    "Embedding",
    "Halved",
    "HeadGate",
    "KVCache",
    "LayerNorm",
    "LayerScale",
    "Learned",
    "Linear",
    "Plain",
    "RMSNorm",
    "ReZero",
    "Rotary",
    "Scope",
    "Sinks",
    "SoftmaxOne",
    "after_update",
    "attend",
    "auxiliary",
    "build",
    "builds",
    "rms_norm",
    "rotate",
    "squared_relu",
]  # fmt: skip
