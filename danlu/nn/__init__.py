"""Layers: ordinary ``nn.Module`` classes, each usable alone.

norms · positions · attention (with its kernels and cache) · feed_forwards · linear · block ·
registry (``build(spec, …)`` makes what a specification describes).
"""

from danlu.nn.attention import Attention
from danlu.nn.block import Block
from danlu.nn.cache import KVCache
from danlu.nn.feed_forwards import GLU, MLP, squared_relu
from danlu.nn.kernels import attend
from danlu.nn.linear import Embedding, Linear
from danlu.nn.norms import LayerNorm, RMSNorm, rms_norm
from danlu.nn.positions import Learned, Rotary, rotate
from danlu.nn.registry import build, builds

__all__ = [
    "GLU", "MLP", "Attention", "Block", "Embedding", "KVCache", "LayerNorm", "Learned", "Linear", "RMSNorm",
    "Rotary", "attend", "build", "builds", "rms_norm", "rotate", "squared_relu",
]  # fmt: skip
