"""Measures of what happens inside the trained model, on the first 4,096 tokens or so of held-out text.

What each statistic is, ``danlu.inspection`` says and computes.
"""

from __future__ import annotations

import torch

from danlu.inspection.attending import parts_of
from danlu.inspection.watching import blocks_of, outputs
from danlu.lab.errors import LabError
from danlu.lab.measures.trained import Trained
from danlu.models import Model
from danlu.nn.codebook import Codebook
from danlu.nn.kernels import Attended, watched


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
        for _, _, scores in parts_of(call._replace(softcap=None)):
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
    return _mean(_of_blocks(run, "dead/", "feed-forward layers"))


def kurtosis(run: Trained) -> float:
    """Excess kurtosis of the stream after a block, mean over blocks: 0 for normal numbers (Bondarenko et al.
    2023, arXiv:2306.12929, section 5)."""
    return _mean(_of_blocks(run, "kurtosis/"))


def max_activation(run: Trained) -> float:
    """The largest absolute value in the stream after any block."""
    return max(_of_blocks(run, "stream-max/"))


def logit_rms(run: Trained) -> float:
    """The root mean square of the logits over the vocabulary."""
    return run.activations["logits/out"]


def attention_to_first(run: Trained) -> float:
    """The attention weight that queries of the later half give the first key: mean over these queries, heads
    and blocks (Xiao et al. 2023, arXiv:2309.17453, the attention sink). Uniform causal attention over T
    positions has Σ 1/i over i = T/2 + 1 … T, divided by T/2."""
    return _mean(_of_blocks(run, "attention-to-first/", SINGLE))


def sink_rate(run: Trained) -> float:
    """The share of sequences, heads and blocks whose first key is a sink: its mean weight exceeds .3 (Gu et
    al. 2024, arXiv:2410.10781)."""
    return _mean(_of_blocks(run, "sink-rate/", SINGLE))


def attention_entropy(run: Trained) -> float:
    """−ΣA ln A ÷ ln(visible keys), mean over heads and blocks: 1 is uniform, 0 a single key."""
    return _mean(_of_blocks(run, "entropy/", SINGLE))


SINGLE = "attention that gives weights to single positions"
SCORES = "attention that computes scores of all pairs"


def _of_blocks(run: Trained, what: str, needs: str = SCORES) -> list[float]:
    """The activations of that name, block by block. Raises ``LabError`` where there are none."""
    found = [value for key, value in run.activations.items() if key.startswith(what) and "blocks." in key]
    if not found:
        raise LabError(f"{run.folder} has no {needs}, so no {what}BLOCK")
    return found


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def increment(run: Trained) -> float:
    """The root mean square of what training changed in the stream after the last block, on one batch of
    held-out text. With ``train.steps=1`` it is the change by one update (Yang et al. 2022, appendix D.1)."""
    before, after = (_last_stream(run, model) for model in (run.initial, run.run.model))
    return float((after - before).double().square().mean().sqrt())


def _last_stream(run: Trained, model: Model) -> torch.Tensor:
    _, last = blocks_of(model)[-1]
    stream: torch.Tensor = outputs([last], lambda: run.forward(model, run.sample))[-1]
    return stream.float()


def codebook_perplexity(run: Trained) -> float:
    """exp(entropy) of the code words' use on held-out text, mean over heads and layers: 1 where all vectors
    fall on one, the number of codes where all are used alike (van den Oord et al. 2017)."""
    model = run.run.model
    books = [module for module in model.modules() if isinstance(module, Codebook)]
    if not books:
        raise LabError(f"{run.folder} has no codebook; take an experiment with +vq-attention")
    codes = outputs(books, lambda: run.forward(model, run.sample))
    found = [perplexity(z, book.codes.shape[1]) for book, (z, _) in zip(books, codes, strict=True)]
    return float(torch.stack(found).mean())


def perplexity(z: torch.Tensor, codes: int) -> torch.Tensor:
    """Of the codes ``z`` (batch, heads, T), int64 below ``codes``: exp(entropy) by head, (heads,)."""
    counts = torch.stack([torch.bincount(head.flatten(), minlength=codes) for head in z.unbind(1)]).double()
    shares = counts / counts.sum(dim=1, keepdim=True)
    return torch.special.entr(shares).sum(dim=1).exp()
