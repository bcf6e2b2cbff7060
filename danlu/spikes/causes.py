"""What a spike may come from, in the order in which it is asked: each with its signature and a value.

``docs/spikes.md`` says where each threshold is from; those without a source are danlu's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from danlu.spikes.table import Cell, Rows, spiked
from danlu.spikes.trace import Moment
from danlu.train.spikes import THRESHOLD, Detector

SURPRISE = 2.3  # Wortsman et al. 2023 (arXiv:2304.13013), section 3.4: above it a loss spike follows
SOON = 8  # updates within which it does, by the same source
GROWN = 2.0  # how many times as large as earlier a score or logZ must be
LARGE = 30.0  # and at least so large: e³⁰ leaves one key all the weight
TINY = 1.0  # gradients that are not larger than ε times this


@dataclass(frozen=True)
class Check:
    """``found``: whether the signature is there (None: nothing to look at); ``value`` against ``limit``;
    ``where`` and at which ``step``; ``says``: a sentence."""

    name: str
    found: bool | None
    value: float | None
    limit: float | None
    where: str | None
    step: int | None
    says: str

    def json(self) -> dict[str, Any]:
        return asdict(self)


def none(name: str, why: str) -> Check:
    """A check that cannot be made."""
    return Check(name, None, None, None, None, None, why)


def data(before: Sequence[Cell], rows: Rows | None, reading: str) -> Check:
    """The batch in a state that knows nothing of the trouble."""
    cell = before[0]
    says = f"the batch costs {cell.loss:.4g} in the state of step {cell.state}, z = {cell.z:.1f}"
    where = None
    if rows is not None:
        where = f"row {rows.worst}"
        says += f"; its worst row, {rows.worst}, costs {rows.loss:.4g} (z = {rows.z:.1f}), {rows.high} of "
        says += f"{rows.of} rows lie above {THRESHOLD:g}"
        if rows.distinct is not None:
            says += f"; {rows.distinct:.0%} of that row's tokens are distinct: {rows.text!r}"
    return Check("data", reading in ("data", "both"), cell.z, THRESHOLD, where, cell.batch, says)


def slow_beta2(moments: Sequence[Moment], step: int) -> Check:
    """The second moment lags behind gradients that grow, before the loss does."""
    window = [m for m in moments if step - SOON <= m.step < step and m.surprise]
    if not window:
        return none("slow-beta2", "no rule keeps a second moment of the gradients as they are")
    # The first update above the limit, or the highest of all.
    tops = [max((value, name, m.step) for name, value in m.surprise.items()) for m in window]
    value, where, at = next((one for one in tops if one[0] > SURPRISE), max(tops))
    says = f"√mean(g²/max(v, ε²)) of {where} is {value:.2f} at step {at}, {step - at} before the top"
    return Check("slow-beta2", value > SURPRISE, value, SURPRISE, where, at, says)


def logits(before: Mapping[str, float], now: Mapping[str, float], step: int) -> Check:
    """Scores of attention, or ln Σe^z of the output, have grown since the earlier state; ``before`` and
    ``now``: what ``danlu.inspection.watching.activations`` finds in both."""
    grown = {
        name: (value / before[name], value)
        for name, value in now.items()
        if (name.startswith("logits/") and name != "logits/out") or name == "logz/out"
        if before.get(name, 0.0) > 0
    }
    if not grown:
        return none("logits", "the network has no attention and no logits to look at")
    where = max(grown, key=lambda name: grown[name])
    ratio, value = grown[where]
    says = f"{where} grew from {before[where]:.3g} to {value:.3g}"
    if (spread := where.replace("logits/", "entropy/")) in now and spread != where:
        says += f", the entropy there went from {before.get(spread, math.nan):.2f} to {now[spread]:.2f}"
    return Check("logits", ratio > GROWN and value > LARGE, value, LARGE, where, step, says)


def epsilon(moments: Sequence[Moment], step: int) -> Check:
    """Gradients no larger than ε, which then shortens the steps (Wortsman et al. 2023, arXiv:2309.14322,
    section 3.4)."""
    before = [m for m in moments if m.step < step and m.root]
    if not before:
        return none("epsilon", "no rule divides by a second moment and ε")
    now = before[-1]
    ratios = {name: root / now.eps[name] for name, root in now.root.items() if root > 0 and now.eps[name]}
    if not ratios:
        return none("epsilon", "ε is 0")
    where = min(ratios, key=lambda name: ratios[name])
    says = f"gradients of {where} are {ratios[where]:.3g} ε (ε = {now.eps[where]:.0e}) at step {now.step}"
    return Check("epsilon", ratios[where] <= TINY, ratios[where], TINY, where, now.step, says)


def part(moments: Sequence[Moment], step: int) -> Check:
    """The part whose gradient left what was usual of it first."""
    detectors: dict[str, Detector] = {}
    first: list[tuple[int, float, str]] = []
    for m in moments:
        for name, length in m.gradients.items():
            z = detectors.setdefault(name, Detector()).judge(length)
            if spiked(z) and step - SOON <= m.step <= step and name not in {one[2] for one in first}:
                first.append((m.step, z, name))
    if not detectors:
        return none("part", "the rules keep no gradients to look at")
    if not first:
        return Check(
            "part", False, None, THRESHOLD, None, None, "no part's gradient left its range by the spike"
        )
    at, z, where = min(first, key=lambda one: (one[0], -one[1]))
    early = [name for when, _, name in first if when == at]
    says = f"the gradient of {where} is first, z = {z:.1f} at step {at}"
    if len(early) > 1:
        says += f" (with {len(early) - 1} more parts)"
    return Check("part", at < step and len(early) * 2 <= len(detectors), z, THRESHOLD, where, at, says)


def numbers(moments: Sequence[Moment], step: int) -> Check:
    """What is not finite, and a loss scale that fell."""
    for m in moments:
        if m.step <= step and m.bad is not None and (m.scale == 1 or not math.isfinite(m.loss)):
            return Check("numbers", True, m.loss, None, m.bad.split(" is ")[0], m.step, m.bad)
    scales = [m.scale for m in moments if m.step <= step]
    if any(not math.isfinite(m.loss) for m in moments if m.step <= step):
        at = next(m for m in moments if not math.isfinite(m.loss))
        return Check("numbers", True, at.loss, None, "the loss", at.step, f"the loss is {at.loss}")
    if scales and scales[-1] < max(scales):
        says = f"the loss scale fell from {max(scales):g} to {scales[-1]:g}: gradients overflowed"
        return Check("numbers", True, scales[-1], max(scales), "the loss scale", step, says)
    return Check("numbers", False, None, None, None, None, "all losses, gradients and weights are finite")


CURES: dict[str, str] = {
    "data": "look at these documents, or leave such updates out: train.skip=loss",
    "slow-beta2": "a second moment that follows sooner: optimizer.beta2=0.95",
    "logits": "bound the scores: +qk-norm, +z-loss",
    "epsilon": "a smaller ε: optimizer.eps=1e-15",
    "part": "the part's own rate or norm; rare rows of an embedding: +embedding-norm",
    "numbers": "train.precision=float32, or a lower rate",
    "unknown": "a lower optimizer.lr, a longer warm-up, a smaller train.clip",
}


def cause(reading: str, checks: Sequence[Check]) -> str:
    """The likely cause: what the table says of the data, else the first signature that is there; a loss that
    is not finite is a matter of numbers wherever the batch alone is not to blame."""
    by = {check.name: check for check in checks}
    if reading == "data":
        return "data"
    broken = by["numbers"]
    if broken.found and broken.where != "the loss scale":
        return "numbers"
    for check in checks:
        if check.found and not (check.name == "data" and reading != "both"):
            return check.name
    return "unknown"
