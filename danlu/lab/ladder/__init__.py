"""The ladder: small runs of growing size, planned, run, fitted, checked on the largest, and a target planned.

shapes (a recipe at other sizes, its exact costs) · rates (the learning rate of a size) · plan (the rungs and
what they cost) · law (the fit, its intervals, what was held out) · target (the large run and its command) ·
climb (all of it, resumable) · report (the drawing).
"""

from danlu.lab.ladder.climb import Ladder, climb

__all__ = ["Ladder", "climb"]
