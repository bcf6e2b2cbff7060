"""Small models whose logits are far from equal, and every way for positions to see one another."""

from __future__ import annotations

from typing import Any

import torch

from danlu import spec
from danlu.models import Model as Network
from danlu.models import build

VOCABULARY, CONTEXT = 13, 12


def small(kind: type[Any] = spec.Decoder, *, seed: int = 0, double: bool = True, **settings: Any) -> Any:
    """Two narrow layers, in float64 unless ``double`` is False."""
    torch.manual_seed(seed)
    given = {"layers": 2, "width": 16, "init": spec.Init(embedding=1.0, branch="same"), **settings}
    model: Network = build(kind.model_validate(given), VOCABULARY, CONTEXT)
    if double:
        model.double()
        model.compute = torch.float64
    return model


def tokens(batch: int = 2, length: int = CONTEXT) -> torch.Tensor:
    return torch.randint(VOCABULARY, (batch, length))


def attention(**settings: Any) -> dict[str, Any]:
    return {"mixer": spec.Attention(heads=2, **settings)}


def at(position: spec.Position, **settings: Any) -> dict[str, Any]:
    return {**attention(**settings), "position": position}


NONE = spec.NoPosition()
ATTENTIONS: dict[str, dict[str, Any]] = {
    "window": attention(window=3),
    "gqa-window": {"mixer": spec.Attention(heads=4, kv_heads=2, window=5), "feed_forward": spec.GLU()},
    "strided": attention(sparse=spec.Strided(stride=3)),
    "fixed": attention(sparse=spec.Fixed(block=4, columns=2)),
    "qk-before": attention(qk_norm=spec.QKNorm(gain=True, per_head=True)),
    "qk-after": attention(window=3, qk_norm=spec.QKNorm(when="after", norm="layer")),
    "qk-width": attention(qk_norm=spec.QKNorm(over="width", gain=True)),
    "key-norm": attention(qk_norm=spec.QKNorm(norm="l2", of="keys"), scale=1.0),
    "cosine": attention(qk_norm=spec.QKNorm(norm="l2"), scale=8.0, log_n=3),
    "log-n-window": attention(log_n=2, window=5),
    "softcap": attention(softcap=2.0),
    "softmax1": attention(weights=spec.SoftmaxOne(), window=4),
    "sinks": attention(weights=spec.Sinks(), kv_heads=1),
    "clipped": attention(weights=spec.Clipped(alpha=0.5, zeta=1.02)),
    "head-gate": attention(gate=spec.HeadGate()),
    "head-gate-mlp": attention(gate=spec.HeadGate(hidden=3)),
    "element-gate": attention(gate=spec.ElementGate(), biases="all"),
    "rotary": at(spec.Rotary()),
    "interleaved": at(spec.Rotary(layout="interleaved", fraction=0.5)),
    "yarn": at(spec.Rotary(scaling=spec.YaRN(original=6))),
    "learned": at(spec.Learned()),
    "sinusoidal": at(spec.Sinusoidal()),
    "none": at(NONE),
    "relative": at(spec.Relative(distance=3), kv_heads=1),
    "t5": at(spec.T5Buckets(buckets=8, distance=9)),
    "t5-own-window": at(spec.T5Buckets(buckets=8, distance=9, shared=False), window=4),
    "alibi": at(spec.ALiBi()),
    "alibi-window-sinks": at(spec.ALiBi(), window=4, weights=spec.Sinks()),
    "kerple": at(spec.Kerple()),
    "kerple-power": at(spec.Kerple(form="power"), sparse=spec.Strided(stride=4)),
    "sandwich": at(spec.Sandwich(size=8)),
    "hwfa": {
        **attention(log_n=6),
        "pattern": ({"window": 3}, {"window": "full", "position": NONE}),
    },
}
# What runs from left to right alone.
CAUSAL: dict[str, dict[str, Any]] = {
    "rerope": at(spec.ReRotary(window=4)),
    "rerope-window": at(spec.ReRotary(window=4), window=6, softcap=5.0),
    "latent": {"mixer": spec.LatentAttention(heads=2, latent=6, rotary_size=4), "position": spec.Rotary()},
    "latent-q": {"mixer": spec.LatentAttention(heads=2, query_latent=5, rotary_size=4), "position": NONE},
    "vq": {"mixer": spec.VQAttention(heads=2, codes=5, block=4), "position": NONE},
    "lru": {"mixer": spec.LRU(state=7), "position": NONE},
    "lru-attention": {**attention(window=3), "pattern": ({"mixer": spec.LRU()}, {})},
    "unmixed-learned": {**at(spec.Learned()), "pattern": ({"mixer": spec.NoMixer()}, {})},
}
EVERY = {**ATTENTIONS, **CAUSAL}
