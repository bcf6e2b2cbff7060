"""Whether C, N and D of a file belong together: C = 6 N D, whatever way FLOP and parameters are counted."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from danlu.laws.base import Array
from danlu.laws.errors import LawError, Warned
from danlu.laws.formulas.kaplan import PF_DAY
from danlu.laws.table import FLOPS_PER_PARAMETER_AND_TOKEN, same_size

SUSPICIOUS = 2.0  # C is this far from 6 N D in every point: a warning …
WRONG_UNIT = 100.0  # … and this far: refused, since no way of counting parameters explains it.
MIDDLE = (5, 95)  # percent of the points; if they differ by WRONG_UNIT, C is none of these runs'
FEW = 0.01  # tokens for each parameter: fewer are another unit
UNITS = {"PF-days": PF_DAY, "GFLOP": 1e9, "TFLOP": 1e12, "PFLOP": 1e15, "EFLOP": 1e18, "ZFLOP": 1e21}
LIKELY, USUAL = (0.3, 3000.0), 20.0  # tokens for each parameter
GAP = 0.02  # of ln C/6ND between two ways of counting
SIZES_APART = 3  # sizes that show it
SMALL = 1e4  # a largest size below this has forgotten its unit


def contradiction(values: Mapping[str, Array], needed: bool) -> tuple[Warned | None, bool]:
    """A warning where n, d and c of all points contradict each other, and whether c is to be dropped.
    ``needed``: c is, so that it is not. Raises LawError where one has another unit."""
    away = np.log(values["c"] / (FLOPS_PER_PARAMETER_AND_TOKEN * values["n"] * values["d"]))
    factor = math.exp(float(np.median(away)))
    low, high = np.percentile(away, MIDDLE)
    if high - low > math.log(WRONG_UNIT):
        ends = f"from {math.exp(low):.3g} to {math.exp(high):.3g} times 6·N·D"
        said = f"the FLOP are {ends} in the middle {MIDDLE[1] - MIDDLE[0]} % of the points"
        return Warned("flop-count", said if needed else f"{said}: 6·N·D is taken instead"), not needed
    one_side = bool((away > math.log(SUSPICIOUS)).all() or (away < -math.log(SUSPICIOUS)).all())
    if not one_side:
        return None, False
    said = (
        f"the FLOP are {factor:.3g} times 6·N·D in the median, "
        f"and in every point more than a factor {SUSPICIOUS:g} off"
    )
    if float(np.abs(away).min()) > math.log(WRONG_UNIT):
        raise LawError(f"{said}: one of the three columns has another unit{_mend(factor)}")
    return Warned("flop-count", f"{said}: other units, or parameters or FLOP counted in another way"), False


def _mend(factor: float) -> str:
    """The unit that would explain it."""
    if 1 / SUSPICIOUS < factor * PF_DAY < SUSPICIOUS:
        return "; --unit c=PF-days would mend it"
    power = round(math.log10(factor) / 3) * 3
    if abs(math.log10(factor) - power) > math.log10(SUSPICIOUS):
        return "; --unit n=M, --unit d=B or --unit c=GFLOP tells it"
    if power < 0:
        return f"; --unit c=1e{-power} would mend it"
    return f"; --unit n=1e{power} or --unit d=1e{power} would mend it"


def computed(made: str, values: Mapping[str, Array]) -> None:
    """Raises LawError where no run can have what C = 6 N D makes of the two others: one has another unit.
    ``made``: n or d; ``values``: of all three."""
    if made not in ("n", "d"):
        return
    ratio = values["d"] / values["n"]
    if values["n"].max() >= 1 and ratio.max() >= FEW:
        return
    middle = float(np.median(ratio))
    would = {name: middle * factor if made == "d" else middle / factor for name, factor in UNITS.items()}
    nearest = min(UNITS, key=lambda name: abs(math.log(would[name] / USUAL)))
    likely = LIKELY[0] < would[nearest] < LIKELY[1]
    mend = f"--unit c={nearest} would mend it" if likely else "--unit c=PF-days or c=GFLOP tells it"
    raise LawError(
        f"C = 6·N·D makes {'tokens' if made == 'd' else 'parameters'} of at most {values[made].max():.3g}, "
        f"for C is {values['c'].max():.3g} at most, and that is not in FLOP; {mend}"
    )


def two_ways(values: Mapping[str, Array]) -> list[Warned]:
    """A warning where C/6ND of one size has two values, in several sizes: FLOP are counted in two ways. Two
    are rows that lie ``GAP`` apart, each within a fifth of that."""
    counted = np.log(values["c"] / (FLOPS_PER_PARAMETER_AND_TOKEN * values["n"] * values["d"]))
    size = same_size(values["n"])
    order = np.lexsort((counted, size))
    found, most = 0, 0.0
    for row in np.split(counted[order], np.flatnonzero(np.diff(size[order])) + 1):
        if len(row) < 3:
            continue
        step = np.diff(row)
        gap, at = float(step.max()), int(step.argmax())
        if gap > GAP and max(row[at] - row[0], row[-1] - row[at + 1]) < gap / 5:
            found, most = found + 1, max(most, gap)
    if found < SIZES_APART:
        return []
    return [Warned("mixed-counting", (
        f"C/6ND has two values in each of {found} sizes, up to {math.expm1(most):.0%} apart: some rows count "
        "FLOP that others leave out, such as those of embeddings; count all alike, or leave the column of "
        "FLOP out, and C = 6·N·D is taken"
    ))]  # fmt: skip


def small(sizes: Array, tokens: Array | None = None) -> list[Warned]:
    """A warning where sizes are too small to be parameters."""
    if sizes.max() >= SMALL:
        return []
    said = f"the largest size is {sizes.max():g} parameters; --unit n=M or n=B tells millions or billions"
    if tokens is not None and tokens.max() < SMALL:
        said = f"{said}, and at most {tokens.max():g} tokens the same of d"
    return [Warned("small-sizes", said)]


def few(sizes: Array, tokens: Array) -> list[Warned]:
    """A warning where no run can have read so few tokens for its size."""
    most = float((tokens / sizes).max())
    if most >= FEW:
        return []
    return [Warned("few-tokens", (
        f"there are at most {most:.2g} tokens for each parameter: if d counts updates, --unit "
        "d=TOKENS_OF_AN_UPDATE; if billions, --unit d=B"
    ))]  # fmt: skip
