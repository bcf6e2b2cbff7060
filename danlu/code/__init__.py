"""Which code a result was made by.

digests (of a source: equal where the code is) · tiers (danlu's files that numbers may depend on, and one's
own) · recording (the files that a run's numbers did depend on) · verdict (whether a result was made by the
code that is here).

A room near the bottom, on ``files`` alone: prepared data says what made it, the trainer what it ran, the lab
compares. No torch.
"""

from danlu.code.recording import Recording
from danlu.code.tiers import UNSURE, Code, judged, judging, loaded, now, together
from danlu.code.verdict import REUSED, Verdict, differing, edited, judge, manifest, record

__all__ = [
    "REUSED", "UNSURE", "Code", "Recording", "Verdict", "differing", "edited", "judge", "judged", "judging",
    "loaded", "manifest", "now", "record", "together",
]  # fmt: skip
