"""Every formula that a verdict rests on, once. Plain numbers: no runs, no torch; SciPy is imported where it
is needed. All of it holds for values that are near to normal.

- ``means``: Student's t interval, bootstrap, median of a fixed number of values
- ``contrast``: two sides, seed by seed; what runs that are lost do to a verdict
- ``sequential``: evidence and intervals for whoever looks before the end
- ``multiplicity``: several questions at once (Holm); ``online``: questions that come one after another
- ``power``: how many pairs a question needs; equivalence, severity
- ``optimum``: the best rate, with its interval, from losses at several; ``search``: which to try next
- ``gain``: the compute-equivalent gain at each rung, by the baseline's ``elasticity`` and the runs' ``noise``
- ``across``: gains over rungs by ``random_effects``, the verdict at a size; ``ahead``: what to run next
- ``shrink``: what is left of a gain among many that were tried
- ``agreement``: how often the small decided as the large
- ``multiverse``: whether a verdict hangs on one choice of the analysis
"""

from danlu.lab.statistics.means import (
    BOOTSTRAP_FROM,
    LEVEL,
    NARROW,
    NORMAL,
    RESAMPLES,
    UNKNOWN,
    Interval,
    Verdict,
    bootstrap,
    decide,
    mean_interval,
    median_interval,
    p_value,
    paired,
    t_reach,
    unpaired,
    unpaired_p,
)
from danlu.lab.statistics.multiplicity import holm, holm_factors
from danlu.lab.statistics.power import MOST_SEEDS, seeds_to_decide
from danlu.lab.statistics.sequential import PRIOR, anytime, anytime_reach, evidence

__all__ = [
    "BOOTSTRAP_FROM",
    "LEVEL",
    "MOST_SEEDS",
    "NARROW",
    "NORMAL",
    "PRIOR",
    "RESAMPLES",
    "UNKNOWN",
    "Interval",
    "Verdict",
    "anytime",
    "anytime_reach",
    "bootstrap",
    "decide",
    "evidence",
    "holm",
    "holm_factors",
    "mean_interval",
    "median_interval",
    "p_value",
    "paired",
    "seeds_to_decide",
    "t_reach",
    "unpaired",
    "unpaired_p",
]
