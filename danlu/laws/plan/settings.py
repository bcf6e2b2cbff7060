"""Batch, updates and learning rate of a run, by the laws that were fitted to large sweeps."""

from __future__ import annotations

import numpy as np

from danlu.laws.base import Array, law
from danlu.laws.errors import Warned
from danlu.laws.plan.asked import Run
from danlu.laws.plan.lines import Line

NORMAL = 1.959964  # standard errors to either end of a 95 % interval
# Step Law publishes 1,000 bootstrap fits beside its runs (github.com/step-law/steplaw, data/): the
# covariances, of ln k, e_N, e_D for the rate and of ln k, e_D for the batch.
RATE_COVARIANCE = np.array([
    [3.89062111e-1, -1.35589390e-2, -5.13249353e-3],
    [-1.35589390e-2, 8.91485737e-4, -1.74331789e-4],
    [-5.13249353e-3, -1.74331789e-4, 3.66311843e-4],
])  # fmt: skip
BATCH_COVARIANCE = np.array([[1.9117964e-1, -8.15157e-3], [-8.15157e-3, 3.4852e-4]])
# Between which runs each was fitted: Step Law's are in the same folder; DeepSeek's section 3.1 says its
# budgets.
RANGES = {"step-law": {"n": (2.1e8, 1.1e9), "d": (4e9, 1e11)}, "deepseek": {"c": (1e17, 2e19)}}
GROUP = "settings"


def settings(run: Run, many: Run | None) -> tuple[list[Line], list[Warned]]:
    """The lines of Step Law and of DeepSeek; ``many``: the runs of the resamples, (resamples,) each.

    Step Law's intervals come from its own bootstrap and from the sizes and tokens of the resamples. DeepSeek
    gives none: their rule was to be within 0.25 % of the lowest loss.
    """
    lines, notes = list[Line](), list[Warned]()
    for key, batch_law, rate_law in (("step-law", "batch-d", "rate-nd"), ("deepseek", "batch-c", "rate-c")):
        source = law(rate_law).published[key].source.split(",")[0]
        at, around = _columns(run), None if many is None else _columns(many)
        batch = _interval(batch_law, key, at, around, BATCH_COVARIANCE if key == "step-law" else None)
        rate = _interval(rate_law, key, at, around, RATE_COVARIANCE if key == "step-law" else None)
        tokens, stem = float(run.d), key.replace("-", "_")
        low, high = (None if end is None else tokens / end for end in (batch[2], batch[1]))
        over = "updates, the rate decaying over all"
        lines += [
            Line(f"batch_{stem}", "batch", *batch, "tokens", source, GROUP),
            Line(f"updates_{stem}", over, tokens / batch[0], low, high, "updates", source, GROUP),
            Line(f"lr_{stem}", "peak learning rate", *rate, "", source, GROUP),
        ]
        beyond = max(float(at[column][0]) / high for column, (_, high) in RANGES[key].items())
        short = min(float(at[column][0]) / low for column, (low, _) in RANGES[key].items())
        if beyond > 1 or short < 1:
            where = (beyond, "largest") if beyond > 1 else (short, "smallest")
            text = (
                f"batch and rate of {source} are for {where[0]:.3g} times the {where[1]} run they come from"
            )
            notes.append(Warned(f"settings-{key}", text))
    return lines, notes


def _columns(run: Run) -> dict[str, Array]:
    return {"n": np.atleast_1d(run.n), "d": np.atleast_1d(run.d), "c": np.atleast_1d(run.training)}


def _interval(
    name: str, key: str, at: dict[str, Array], around: dict[str, Array] | None, covariance: Array | None
) -> tuple[float, float | None, float | None]:
    """What a law says of a run, and its 95 % interval, where one is known."""
    one = law(name)
    value = float(one.predict(one.theta(key), at)[0])
    if covariance is None:
        return value, None, None
    row = np.array([1.0, *(np.log(at[column][0]) for column in one.columns)])
    variance = float(row @ covariance @ row)
    if around is not None:
        with np.errstate(all="ignore"):
            said = np.log(one.predict(one.theta(key), around))
        variance += float(np.var(said[np.isfinite(said)])) if np.isfinite(said).any() else 0.0
    factor = float(np.exp(NORMAL * np.sqrt(variance)))
    return value, value / factor, value * factor
