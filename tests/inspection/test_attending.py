"""Statistics of attention, recomputed from dense weights one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from danlu.inspection.attending import SEEN, SINK, Attention, entropy, sink_rates
from danlu.nn.kernels import Attended, attend, watched
from danlu.nn.masks import AttentionMask


def calls(length: int, *, heads: int = 3, sharp: float = 1.0, causal: bool = True, **how: object) -> Attended:
    """What a watcher is told of attention on random queries, in which heads 1 and 2 look at the first key."""
    draw = torch.Generator().manual_seed(4)
    q, k, v = (torch.randn(2, heads, length, 8, generator=draw) for _ in range(3))
    k[:, 1:, 0] = 0
    q[:, 1:, :, 0], k[:, 1:, 0, 0] = 2.0, torch.tensor([1.5, 5.0])[: heads - 1]
    found: list[Attended] = []
    mask = AttentionMask() if causal else AttentionMask(causal=False)
    with watched(found.append):
        attend(q, k, v, scale=sharp, mask=mask, **how)  # type: ignore[arg-type]
    return found[0]


def dense(call: Attended) -> np.ndarray:
    """The weights by NumPy: (B, H, T, T)."""
    q, k = (t.double().numpy() for t in (call.q, call.k))
    scores = call.scale * np.einsum("bhid,bhjd->bhij", q, k)
    i, j = np.indices(scores.shape[2:])
    seen = np.ones_like(i, bool)
    if call.pattern.causal:
        seen &= j <= i
    if call.pattern.window is not None:
        seen &= i - j < call.pattern.window
    scores = np.where(seen, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(weights / weights.sum(-1, keepdims=True))


@pytest.mark.parametrize("length", [20, 140])  # within a block of queries, and beyond
@pytest.mark.parametrize("how", [{}, {"window": 130}, {"window": 5}, {"causal": False}], ids=str)
def test_everything_as_by_hand(length: int, how: dict[str, object]) -> None:
    call = calls(length, sharp=0.8, **how)  # type: ignore[arg-type]
    attention = Attention()
    attention.add(call)
    values, weights = attention.values(), dense(call)
    to_first = [weights[b, h, i, 0] for b in range(2) for h in range(3) for i in range(length // 2, length)]
    assert values["attention-to-first"] == pytest.approx(np.mean(to_first), rel=1e-5, abs=1e-9)
    entropies = []
    for row in weights.reshape(-1, length):
        there = row[row > 0]
        if len(there) > 1:
            entropies.append(-sum(a * math.log(a) for a in there) / math.log(len(there)))
    assert values["entropy"] == pytest.approx(np.mean(entropies), rel=1e-5)
    last = min(length, SEEN)
    for k, name in enumerate(["sink-rate", "sink-rate-2", "sink-rate-3", "sink-rate-4"]):
        first = k if call.pattern.causal else 0
        means = [sum(weights[b, h, first:last, k]) / (last - first) for b in range(2) for h in range(3)]
        assert values[name] == pytest.approx(np.mean([mean > SINK for mean in means]), abs=1e-9)
    norms = np.linalg.norm(call.v.double().numpy(), axis=-1)
    assert values["value-drain"] == pytest.approx(np.mean(norms[..., 0] / norms[..., 1:].mean(-1)), rel=1e-9)


def test_one_sink_of_three_heads_is_a_third() -> None:
    attention = Attention()
    attention.add(calls(64, sharp=1.0))
    assert attention.values()["sink-rate"] == pytest.approx(1 / 3)


def test_a_longer_text_has_the_sinks_of_its_beginning() -> None:
    """Where attention is causal, what comes after changes nothing."""
    whole, short = calls(SEEN + 30), calls(SEEN + 30)
    cut = {name: getattr(short, name)[:, :, :SEEN] for name in ("q", "k", "v")}
    found = []
    for call in (whole, short):
        if call is short:
            told: list[Attended] = []
            with watched(told.append):
                attend(cut["q"], cut["k"], cut["v"], scale=1.0)
            call = told[0]
        attention = Attention()
        attention.add(call)
        found.append(attention.values()["sink-rate"])
    assert found[0] == found[1] > 0


def test_uniform_attention_and_single_keys() -> None:
    uniform = torch.ones(1, 1, 6, 6).tril()
    uniform = uniform / uniform.sum(-1, keepdim=True)
    visible = torch.arange(1, 7).view(1, 1, 6)
    found = entropy(uniform, visible)
    assert found[..., 0].isnan().all() and torch.allclose(found[..., 1:], torch.ones(5))
    single = torch.zeros(1, 1, 6, 6)
    single[..., 0] = 1
    assert float(entropy(single, visible)[..., 1:].abs().max()) == 0
    assert entropy(torch.zeros(1, 1, 6, 6), visible).isnan().all()  # ReLU attention may look at nothing
    # mean of 1, 1/2, 1/3, 1/4 is .52; over 64 queries H₆₄/64 = .07
    assert float(sink_rates(uniform[:, :, :4, :1], causal=True)) == 1
    long = torch.ones(64, 64).tril()
    assert float(sink_rates((long / long.sum(-1, keepdim=True))[None, None, :, :1], causal=True)) == 0
