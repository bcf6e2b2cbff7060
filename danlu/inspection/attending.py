"""Statistics of attention: scores, entropy, sinks, the value of the first position."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from danlu.inspection.numbers import first_to_others
from danlu.nn.kernels import Attended
from danlu.nn.plain import blocks

SINK = 0.3  # mean weight above which a key is a sink
SEEN = 64  # the first positions, of which sinks are counted (Gu et al. 2024: T = 64)
KEYS = 4  # the first keys, of which sinks are looked for


class Attention:
    """What calls of attention of one layer come to.

    Scores are as the softmax gets them, those that are hidden left out. Weights are those that the values
    are mixed by: of ReLU or softmax1 they need not sum to one. ``to_itself``: whether positions look at one
    another, so that one of them is the first.
    """

    def __init__(self, to_itself: bool = True) -> None:
        self.to_itself = to_itself
        self.largest, self._squares, self._count = float("-inf"), 0.0, 0
        self._entropy: list[Tensor] = []
        self._first: list[Tensor] = []  # (batch, heads, queries, KEYS)
        self._causal: list[bool] = []
        self._drain: list[Tensor] = []

    def add(self, call: Attended) -> None:
        """One call."""
        first = []
        for start, stop, scores in parts_of(call):
            # What is hidden is hidden in every head, and without documents in every row.
            seen = scores[: None if call.different is not None else 1, :1] > float("-inf")
            self.largest = max(self.largest, float(scores.max()))
            self._squares += float(scores.masked_fill(~seen, 0.0).square().sum())
            visible = seen.sum(-1)
            self._count += int(visible.expand(scores.shape[:3]).sum())
            weights = call.weights(scores)
            self._entropy.append(entropy(weights, visible))
            first.append(_first_keys(call, weights, start, stop))
        if self.to_itself and call.pattern.queries == call.pattern.keys > 1:
            self._first.append(torch.cat(first, dim=2))
            self._causal.append(call.pattern.causal)
            if call.v is not None:
                self._drain.append(first_to_others(call.v))

    def values(self, keys: int = KEYS) -> dict[str, float]:
        """The statistics by name (``danlu.inspection.table``); sink rates of the first ``keys`` keys."""
        rms = math.sqrt(self._squares / self._count) if self._count else math.nan  # all scores are NaN
        found = {"logits": self.largest, "logits-rms": rms}
        entropies = torch.cat([one.flatten() for one in self._entropy])
        found["entropy"] = float(entropies[entropies.isfinite()].mean())
        if self._first:
            found["attention-to-first"] = self.to_first
            rates = [sink_rates(w, c) for w, c in zip(self._first, self._causal, strict=True)]
            mean = torch.stack(rates).mean(0).tolist()
            found |= {f"sink-rate{'' if k == 0 else f'-{k + 1}'}": rate for k, rate in enumerate(mean[:keys])}
        if self._drain:
            found["value-drain"] = float(torch.stack(self._drain).mean())
        return found

    @property
    def to_first(self) -> float:
        """The weight that queries of the later half give the first key, mean over queries, heads, calls."""
        return float(torch.stack([later_half(w[..., 0]).mean() for w in self._first]).mean())


def parts_of(call: Attended) -> Iterator[tuple[int, int, Tensor]]:
    """The scores of a call in float32, −∞ where hidden, some queries at a time: first query, last + 1, and
    scores (B, H, queries, keys of ``danlu.nn.plain.blocks``)."""
    call = call._replace(q=call.q.float(), k=call.k.float())
    for start, stop, low, high in blocks(call.pattern):
        yield start, stop, call.scores(start, stop, low, high)


def _first_keys(call: Attended, weights: Tensor, start: int, stop: int) -> Tensor:
    """The weights of the first ``KEYS`` keys (B, H, queries, KEYS): zero where they are out of sight."""
    low, _ = call.pattern.keys_of(start, stop)
    here = weights[..., : max(0, KEYS - low)]
    return torch.nn.functional.pad(here, (min(low, KEYS), max(0, KEYS - low - here.shape[-1])))


def first_weights(call: Attended) -> Tensor:
    """The weights of the first ``KEYS`` keys, of all queries: (B, H, T, KEYS) in float32."""
    found = [_first_keys(call, call.weights(s), start, stop) for start, stop, s in parts_of(call)]
    return torch.cat(found, dim=2)


def later_half(weights: Tensor) -> Tensor:
    """(…, T) → (…, T − T//2): the queries that see much."""
    return weights[..., weights.shape[-1] // 2 :]


def entropy(weights: Tensor, visible: Tensor) -> Tensor:
    """−Σ A ln A ÷ ln(visible), of weights A (…, keys) divided by their sum, where a query sees more than one
    key; NaN elsewhere, and where all weights are zero. 1 is uniform, 0 a single key. ``visible`` (…): how
    many keys a query sees."""
    total = weights.sum(-1)
    whole = torch.special.entr(weights).sum(-1) / total + total.log()  # of the shares A/ΣA
    return (whole / visible.log()).masked_fill((visible < 2) | (total <= 0), float("nan"))


def sink_rates(weights: Tensor, causal: bool) -> Tensor:
    """Of each of the first keys, the share of sequences and heads in which its mean weight exceeds ``SINK``:
    (keys,).

    ``weights`` (B, H, T, keys), of which the first ``SEEN`` queries count: where attention is ``causal``
    they are those of a text so long. The mean of key k (from 0) is over the T − k queries that see it (Gu et
    al. 2024, arXiv:2410.10781, section 3.1)."""
    weights = weights[:, :, :SEEN].double()
    means = [weights[:, :, k if causal else 0 :, k].mean(2) for k in range(weights.shape[-1])]
    return torch.stack([(mean > SINK).double().mean() for mean in means])
