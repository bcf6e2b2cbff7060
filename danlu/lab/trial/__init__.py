"""Ideas tried against a baseline in pairs: what is asked (``arms``, ``sides``), the runs (``study``), how
long an update takes (``timing``), the verdicts (``findings``), what moved inside (``moved``), and how it is
shown (``terminal``, ``report``)."""

from danlu.lab.trial.findings import Finding, Pairs
from danlu.lab.trial.study import Answer, Question, try_ideas

__all__ = ["Answer", "Finding", "Pairs", "Question", "try_ideas"]
