"""Numbers and times as people write them: 64k, 3.28M, 6e-5, 12 minutes."""

from __future__ import annotations

import math
import re
from decimal import Decimal

SUFFIXES = {"k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9, "t": 10**12}  # read, whatever the case
SCALES = (("T", 10**12), ("B", 10**9), ("M", 10**6), ("k", 10**3))  # written, the largest first


def rounded(number: float, digits: int = 3) -> str:
    """A number with a suffix that can be typed: 175B, 3.28M, 512."""
    for suffix, scale in SCALES:
        if (size := float(f"{number / scale:.{digits}g}")) >= 1:
            return f"{size:.{digits}g}{suffix}"
    return f"{number:.{digits}g}"


def times(ratio: float) -> str:
    """A ratio in words: 1.25×, and 1.07e+10× where digits after the point say nothing."""
    return f"{ratio:.2f}×" if ratio < 1000 else f"{ratio:.3g}×"


def three_digits(number: float) -> float:
    """The number with three digits, which is what a rate or a share can claim."""
    return float(f"{number:.3g}")


def scientific(number: float) -> str:
    """A number by its power of ten, no digit lost: 6e-5, 2.15e-4, 1e+20."""
    return f"{Decimal(repr(number)).normalize():e}"


def power(number: str) -> str:
    """A number's text with its power of ten as it is typed: 1e15 for 1e+15, 2e-7 for 2e-07."""
    return re.sub(r"e([+-])0*(?=\d)", lambda found: f"e{found[1].removeprefix('+')}", number)


def duration(seconds: float | None) -> str:
    """What was measured, for a table: 42.3 s, 12.5 min, 3.2 h; nothing where it is not known."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def clock(seconds: float) -> str:
    """What is still to come, as a clock shows it: 42s, 3m20s, 2h05m."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def in_words(seconds: float) -> str:
    """What is told in a sentence: 42 seconds, 12 minutes, 3.2 hours."""
    if seconds < 120:
        return f"{seconds:.0f} second{'s' * (round(seconds) != 1)}"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
