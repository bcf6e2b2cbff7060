"""What the statistics are: names, words, definitions. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Group = Literal["stream", "outliers", "attention", "hidden", "parts", "output"]


class Statistic(NamedTuple):
    """``short``: the head of a column. ``words``: as a person calls it; the layer follows. ``text``: its
    definition. ``plus``: what is added before a ratio of two values is taken, as these may be zero or less.
    ``without_first``: the name of the same without position 0. ``log``: whether it spans decades."""

    group: Group
    short: str
    words: str
    text: str
    plus: float = 0.0
    without_first: str = ""
    log: bool = False


SHARE = 0.01  # beside a share, which may be zero

STATISTICS: dict[str, Statistic] = {
    # of the stream after a block
    "stream": Statistic(
        "stream", "RMS", "RMS of the stream after",
        "root mean square of the stream after the block", log=True,
    ),
    "growth": Statistic(
        "stream", "growth", "growth of the stream in",
        "RMS of the stream after the block over that before it",
    ),
    "influence": Statistic(
        "stream", "influence", "influence of",
        "1 − cos of the stream before and after the block, mean over positions (Men et al. 2024)", SHARE,
    ),
    "rank": Statistic(
        "stream", "rank", "effective rank after",
        "exp of the entropy of σ/Σσ of the stream, positions by width (Roy & Vetterli 2007)",
        0.0, "rank-rest",
    ),
    "stable-rank": Statistic(
        "stream", "stable rank", "stable rank after",
        "‖X‖_F²/‖X‖₂² of the stream", 0.0, "stable-rank-rest",
    ),
    "cosine": Statistic(
        "stream", "cosine", "mean cosine of positions after",
        "mean cosine of two different positions of the stream", 1.0 + SHARE,
    ),
    "stream-gradient": Statistic(
        "stream", "gradient", "gradient at the stream after",
        "RMS of the loss's gradient at the stream after the block", log=True,
    ),
    # outliers there, and at position 0
    "stream-max": Statistic(
        "outliers", "max", "largest activation after",
        "largest |x| of the stream", 0.0, "stream-max-rest", True,
    ),
    "kurtosis": Statistic(
        "outliers", "kurtosis", "kurtosis of the stream after",
        "excess kurtosis E(x − μ)⁴/σ⁴ − 3 over all numbers of the stream: 0 for normal ones",
        3.0, "kurtosis-rest", True,
    ),
    "kurtosis-sequence": Statistic(
        "outliers", "by sequence", "kurtosis by sequence in",
        "raw kurtosis of a sequence (3 for normal numbers), mean over sequences, then over block "
        "output, both norms, mixer and feed-forward outputs (Bondarenko et al. 2023)",
        0.0, "kurtosis-sequence-rest", True,
    ),
    "kurtosis-token": Statistic(
        "outliers", "by token", "kurtosis by token after",
        "raw kurtosis over the channels of one position (3 for normal numbers), mean over positions "
        "(Kaul et al. 2024)", 0.0, "kurtosis-token-rest", True,
    ),
    "sequence-max": Statistic(
        "outliers", "∞-norm", "largest ∞-norm in",
        "largest |x| of a sequence, mean over sequences, the largest of the same five tensors "
        "(Bondarenko et al. 2023)",
        0.0, "sequence-max-rest", True,
    ),
    "massive": Statistic(
        "outliers", "massive", "massive activations after",
        "activations of a sequence beyond 100 and beyond 1000 times the layer's median (Sun et al. "
        "2024)", SHARE, "massive-rest",
    ),
    "peak": Statistic(
        "outliers", "peak", "norm at position 0 after",
        "norm of the stream at position 0 over the mean norm at the others", log=True,
    ),
    # of attention
    "logits": Statistic(
        "attention", "max score", "largest attention score in",
        "largest attention score, as the softmax gets it",
    ),
    "logits-rms": Statistic(
        "attention", "RMS score", "RMS attention score in",
        "root mean square of the scores of pairs that are not hidden",
    ),
    "entropy": Statistic(
        "attention", "entropy", "entropy of attention in",
        "−ΣA ln A ÷ ln(visible keys), mean over heads and queries: 1 is uniform, 0 a single key", SHARE,
    ),
    "attention-to-first": Statistic(
        "attention", "to first", "attention to the first position in",
        "weight that queries of the later half give the first key, mean over heads and queries", SHARE,
    ),
    "sink-rate": Statistic(
        "attention", "sink rate", "sink rate of",
        "share of sequences and heads whose mean weight on the first key, over the first 64 queries "
        "that see it, exceeds .3 (Gu et al. 2024)", SHARE,
    ),
    "sink-rate-2": Statistic(
        "attention", "2nd", "sink rate of the second key in",
        "the same of the second key", SHARE,
    ),
    "sink-rate-3": Statistic(
        "attention", "3rd", "sink rate of the third key in",
        "the same of the third key", SHARE,
    ),
    "sink-rate-4": Statistic(
        "attention", "4th", "sink rate of the fourth key in",
        "the same of the fourth key", SHARE,
    ),
    "value-drain": Statistic(
        "attention", "drain", "value norm at position 0 in",
        "norm of the value at position 0 over the mean norm of the others: small where a sink adds "
        "nothing",
    ),
    # of the feed-forward layer's hidden units
    "dead": Statistic(
        "hidden", "dead", "dead units of",
        "share of hidden units of the feed-forward layer that are zero at every place", SHARE,
    ),
    "dormant": Statistic(
        "hidden", "dormant", "dormant units of",
        "share of hidden units whose mean |h| is at most .025 of the layer's mean (Sokar et al. 2023)", SHARE,
    ),
    # of parts: mixer, feed-forward, embedding, readout
    "branch": Statistic(
        "parts", "output", "RMS of the output of",
        "root mean square of what the part gives", log=True,
    ),
    "weight": Statistic(
        "parts", "weight", "RMS weight of",
        "root mean square of the part's weights", log=True,
    ),
    "weight-max": Statistic(
        "parts", "max", "largest weight of",
        "largest |w|", log=True,
    ),
    "weight-rank": Statistic(
        "parts", "rank", "effective rank of",
        "exp of the entropy of σ/Σσ of a matrix, mean over the part's matrices",
    ),
    "weight-stable-rank": Statistic(
        "parts", "stable rank", "stable rank of",
        "‖W‖_F²/‖W‖₂², mean over the part's matrices",
    ),
    "gradient": Statistic(
        "parts", "gradient", "gradient norm of",
        "Euclidean norm of the loss's gradient, before it is clipped", log=True,
    ),
    "gradient-to-weight": Statistic(
        "parts", "‖g‖/‖w‖", "gradient-to-weight ratio of",
        "norm of the gradient over norm of the weights", log=True,
    ),
    "gradient-zero": Statistic(
        "parts", "zero", "zero gradients of",
        "share of the gradient's numbers that are exactly zero", SHARE,
    ),
    "update": Statistic(
        "parts", "update", "update-to-weight ratio of",
        "‖Δw‖/‖w‖ of one update, as the run wrote it", log=True,
    ),
    "change": Statistic(
        "parts", "change", "change of",
        "‖Δw‖/‖w‖ since the checkpoint before", log=True,
    ),
    # of the model's output: layer "out"; of logits also "logits", of other numbers "branch", which are above
    "logits-max": Statistic(
        "output", "max logit", "largest output logit",
        "largest |logit| of the output",
    ),
    "logz": Statistic(
        "output", "log Z", "log Z of the output",
        "log Σ exp of the logits, mean over places",
    ),
}  # fmt: skip

OUT = "out"  # the layer that is the model's output
IN_WORDS: Mapping[str, str] = {
    "logits/out": "RMS output logit",
    "logits-max/out": "largest output logit",
    "logz/out": "log Z of the output",
    "branch/out": "RMS of the output",
}


def known(name: str) -> Statistic | None:
    """The statistic of a name, with or without position 0."""
    return STATISTICS.get(name.removesuffix("-rest"))


def in_words(key: str) -> str:
    """``kurtosis/blocks.0`` as a person calls it; a key that is none as it is."""
    name, _, layer = key.partition("/")
    statistic = known(name)
    if key in IN_WORDS or statistic is None:
        return IN_WORDS.get(key, key)
    return f"{statistic.words} {layer}" + (" without position 0" if name.endswith("-rest") else "")


def plus(key: str) -> float:
    """What is added to the value of ``kurtosis/blocks.0`` before a ratio is taken."""
    statistic = known(key.partition("/")[0])
    return 0.0 if statistic is None else statistic.plus
