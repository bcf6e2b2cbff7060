"""Measures of what happens inside the trained model, on the first 4,096 tokens or so of held-out text.

Definitions of the activations are those of ``danlu.train.internals``, which follows them while a run trains.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn as nn

from danlu.lab.errors import LabError
from danlu.lab.measures.trained import Trained
from danlu.models import Model
from danlu.nn.codebook import Codebook
from danlu.nn.contracts import FeedForward
from danlu.nn.kernels import Attended, watched
from danlu.nn.plain import blocks
from danlu.train.internals import blocks_of


def max_logit(run: Trained) -> float:
    """The largest attention score of any block, as the softmax gets it (Dehghani et al. 2023,
    arXiv:2302.05442, section 3)."""
    return max(_of_blocks(run, "logits/"))


def share_above_cap(run: Trained) -> float:
    """The share of the pairs that are not hidden whose attention score is beyond the soft cap on either side,
    before it is capped: 0 where the cap changes next to nothing. Raises ``LabError`` where nothing caps."""
    beyond = pairs = 0

    def watch(call: Attended) -> None:
        nonlocal beyond, pairs
        if call.softcap is None:
            return
        bare = call._replace(q=call.q.float(), k=call.k.float(), softcap=None)
        for start, stop, low, high in blocks(call.pattern):
            scores = bare.scores(start, stop, low, high)
            seen = scores.isfinite()
            pairs += int(seen.sum())
            beyond += int((seen & (scores.abs() > call.softcap)).sum())

    with watched(watch):
        run.forward(run.run.model, run.sample)
    if not pairs:
        raise LabError(f"{run.folder} caps no attention scores; take an experiment with +attention-softcap")
    return beyond / pairs


def dead_units(run: Trained) -> float:
    """The share of the hidden units of the feed-forward layers that are zero at every place of the sample, as
    those of a ReLU may be for ever; mean over layers. Raises ``LabError`` where there are no such layers."""
    layers = [module for module in run.run.model.modules() if isinstance(module, FeedForward)]
    alive: dict[nn.Module, torch.Tensor] = {}

    def keep(module: nn.Module, given: Any) -> None:
        on = (given[0] != 0).flatten(0, -2).any(0)
        alive[module] = alive.get(module, torch.zeros_like(on)) | on

    hooks = [layer.out.register_forward_pre_hook(keep) for layer in layers]
    try:
        run.forward(run.run.model, run.sample)
    finally:
        for hook in hooks:
            hook.remove()
    if not alive:
        raise LabError(f"{run.folder} has no feed-forward layers")
    return 1 - float(torch.stack([on.float().mean() for on in alive.values()]).mean())


def kurtosis(run: Trained) -> float:
    """Excess kurtosis of the stream after a block, mean over blocks: 0 for normal numbers (Bondarenko et al.
    2023, arXiv:2306.12929, section 5)."""
    found = _of_blocks(run, "kurtosis/")
    return sum(found) / len(found)


def max_activation(run: Trained) -> float:
    """The largest absolute value in the stream after any block."""
    return max(_of_blocks(run, "stream-max/"))


def logit_rms(run: Trained) -> float:
    """The root mean square of the logits over the vocabulary."""
    return run.activations["logits/out"]


def _of_blocks(run: Trained, what: str) -> list[float]:
    """The activations of that name, block by block."""
    found = [value for key, value in run.activations.items() if key.startswith(what) and "blocks." in key]
    if not found:
        raise LabError(f"{run.folder} has no attention that computes scores of all pairs, so no {what}BLOCK")
    return found


def attention_to_first(run: Trained) -> float:
    """The attention weight that queries of the later half give the first key: mean over these queries, heads
    and blocks (Xiao et al. 2023, arXiv:2309.17453, the attention sink). Uniform causal attention over T
    positions has Σ 1/i over i = T/2 + 1 … T, divided by T/2."""
    means: list[float] = []

    def watch(call: Attended) -> None:
        if call.pattern.queries > 1:
            means.append(float(first_weights(call).mean()))

    with watched(watch):
        run.forward(run.run.model, run.sample)
    if not means:
        raise LabError(f"{run.folder} has no attention that gives weights to single positions")
    return sum(means) / len(means)


def first_weights(call: Attended) -> torch.Tensor:
    """The weights of the first key at the queries of the later half: (B, H, T − T//2) in float32."""
    call = call._replace(q=call.q.float(), k=call.k.float())
    weights = []
    for start, stop, low, high in blocks(call.pattern):
        of_block = call.weights(call.scores(start, stop, low, high))
        weights.append(of_block[..., 0] if low == 0 else torch.zeros_like(of_block[..., 0]))
    return torch.cat(weights, dim=-1)[..., call.pattern.queries // 2 :]


def increment(run: Trained) -> float:
    """The root mean square of what training changed in the stream after the last block, on one batch of
    held-out text. With ``train.steps=1`` it is the change by one update (Yang et al. 2022, appendix D.1)."""
    before, after = (_last_stream(run, model) for model in (run.initial, run.run.model))
    return float((after - before).double().square().mean().sqrt())


def _last_stream(run: Trained, model: Model) -> torch.Tensor:
    _, last = blocks_of(model)[-1]
    outputs = _outputs([last], lambda: run.forward(model, run.sample))
    stream: torch.Tensor = outputs[-1]
    return stream.float()


def codebook_perplexity(run: Trained) -> float:
    """exp(entropy) of the code words' use on held-out text, mean over heads and layers: 1 where all vectors
    fall on one, the number of codes where all are used alike (van den Oord et al. 2017)."""
    model = run.run.model
    books = [module for module in model.modules() if isinstance(module, Codebook)]
    if not books:
        raise LabError(f"{run.folder} has no codebook; take an experiment with +vq-attention")
    outputs = _outputs(books, lambda: run.forward(model, run.sample))
    found = [perplexity(z, book.codes.shape[1]) for book, (z, _) in zip(books, outputs, strict=True)]
    return float(torch.stack(found).mean())


def perplexity(z: torch.Tensor, codes: int) -> torch.Tensor:
    """Of the codes ``z`` (batch, heads, T), int64 below ``codes``: exp(entropy) by head, (heads,)."""
    counts = torch.stack([torch.bincount(head.flatten(), minlength=codes) for head in z.unbind(1)]).double()
    shares = counts / counts.sum(dim=1, keepdim=True)
    return torch.special.entr(shares).sum(dim=1).exp()


def _outputs(modules: list[Any], forward: Callable[[], Any]) -> list[Any]:
    """What the modules return in ``forward()``, in the order in which they run."""
    found: list[Any] = []

    def keep(module: nn.Module, given: Any, output: Any) -> None:
        found.append(output)

    hooks = [module.register_forward_hook(keep) for module in modules]
    try:
        forward()
    finally:
        for hook in hooks:
            hook.remove()
    return found
