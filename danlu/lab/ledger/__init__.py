"""The ledger: every question that was asked, its verdict, what was decided, on what evidence, when to look
again; and what all of it together says.

A text file that belongs under version control and may be edited by hand: an entry (``entry``), how entries
stand in the text (``text``), reading and writing it (``book``), which of several answers counts (``newest``),
what an idea sets and its family (``ideas``), which verdicts stand and how many ideas worked (``judgement``),
what was tried before (``memory``), and how it is shown (``table``).
"""

from danlu.lab.ledger.book import LEDGER, ask, check, decide, find, named, read, record
from danlu.lab.ledger.entry import (
    DECISIONS,
    Decision,
    Entry,
    Environment,
    Gain,
    Regime,
    Revisit,
    Rung,
    Scale,
    Verdict,
)
from danlu.lab.ledger.ideas import about
from danlu.lab.ledger.judgement import Judgement, control, judge
from danlu.lab.ledger.memory import Match, search, seen

__all__ = [
    "DECISIONS", "LEDGER", "Decision", "Entry", "Environment", "Gain", "Judgement", "Match", "Regime",
    "Revisit", "Rung", "Scale", "Verdict", "about", "ask", "check", "control", "decide", "find", "judge",
    "named", "read", "record", "search", "seen",
]  # fmt: skip
