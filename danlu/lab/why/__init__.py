"""Why a verdict came out: what moved inside, when, what did not, and what would test the reading. No torch.

courses (what runs wrote of their insides, and the baseline's band) · moved (which statistics moved, in units
of their noise) · interventions (what holds a statistic still) · charts (lines by seed, layers over steps).
"""

from danlu.lab.why.moved import BAND, TOP, Why, why

__all__ = ["BAND", "TOP", "Why", "why"]
