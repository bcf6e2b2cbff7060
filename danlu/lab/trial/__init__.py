"""Ideas tried against a baseline in pairs.

- ``arms``, ``question``: what is asked; ``cost``: what it takes
- ``study``: the runs, by ``sides``; ``lengths`` that cost the same, ``timing`` of an update
- ``findings``: the verdicts; ``moved``: what moved inside; ``answer``: all of it
- ``words``, ``terminal``, ``report``: how it is shown; ``record``: what the ledger is told
"""

from danlu.lab.trial.answer import Answer
from danlu.lab.trial.findings import Finding, Pairs
from danlu.lab.trial.question import Question
from danlu.lab.trial.study import try_ideas

__all__ = ["Answer", "Finding", "Pairs", "Question", "try_ideas"]
