"""What holds a statistic still: the experiment that would test whether it carried an effect."""

from __future__ import annotations

from danlu.spec import Experiment

NOTHING = 1e-6  # a gradient's norm that tells of a network through which none comes
# Statistic → words that bound it on both sides, and what they do.
BOUNDS = {
    "logits": ("+qk-norm", "bounds attention scores"),
    "logits-rms": ("+qk-norm", "bounds attention scores"),
    "entropy": ("+qk-norm", "bounds attention scores, and so how sharp attention is"),
    "attention-to-first": ("+sinks", "gives heads a sink that is no position"),
    "sink-rate": ("+sinks", "gives heads a sink that is no position"),
    "value-drain": ("+sinks", "gives heads a sink that is no position"),
    "kurtosis": ("+gated-attention", "lets a head write nothing without an outlier"),
    "stream-max": ("+gated-attention", "lets a head write nothing without an outlier"),
    "peak": ("+gated-attention", "lets a head write nothing without an outlier"),
    "stream": ("+double-norm", "norms what each branch adds"),
    "dead": ("+gelu", "has no units that are off for ever"),
    "logits/out": ("+softcap", "bounds the output logits"),
    "logits-max/out": ("+softcap", "bounds the output logits"),
    "logz/out": ("+z-loss", "keeps log Z near zero"),
}


def is_gradient(name: str) -> bool:
    """Whether clipping bounds the statistic."""
    return _statistic(name) in ("gradient", "gradient norm")


def intervention(name: str, least: float) -> dict[str, str] | None:
    """``words`` to lay over both sides, and ``what`` they do; None where nothing in the catalog holds the
    statistic still. Gradients are clipped to half of ``least``, the smallest norm of those that moved, unless
    that is nothing. Of updates it is the baseline alone (``arm``) at another rate (``faster``), and there are
    no words. If the effect goes with the statistic, it went through it; if it stays, it did not."""
    statistic = _statistic(name)
    if is_gradient(name):
        if least < NOTHING:
            return None
        clip = float(f"{least / 2:.2g}")
        return {"words": f"train.clip={clip:g}", "what": "clips every update to one norm", "arm": "both"}
    if statistic == "update":
        return {"words": "", "what": "makes its updates as large", "arm": "baseline"}
    found = BOUNDS.get(name) or (None if name.endswith("/out") else BOUNDS.get(statistic))
    return None if found is None else {"words": found[0], "what": found[1], "arm": "both"}


def _statistic(name: str) -> str:
    return name.partition("/")[0].removesuffix("-rest")


def faster(baseline: Experiment, ratio: float) -> str | None:
    """The words for a baseline whose updates are ``ratio`` times as large; None where it has no rate."""
    rate = getattr(baseline.optimizer, "lr", None)
    return None if rate is None else f"optimizer.lr={rate * ratio:.2g}"
