"""How a question can end without a verdict on the idea."""

from __future__ import annotations

from typing import Literal

from danlu.lab.errors import LabError


class NoVerdict(LabError):
    """The reason, and what it is called."""

    outcome: Literal["void", "failed", "budget"]


class Void(NoVerdict):
    """The comparison means nothing; the sentence says why."""

    outcome = "void"
    exit_code = 3


class Failed(NoVerdict):
    """Runs failed, so that there is nothing to compare."""

    outcome = "failed"
    exit_code = 4


class Spent(NoVerdict):
    """The budget of seconds is used up before the question is answered."""

    outcome = "budget"
    exit_code = 5
