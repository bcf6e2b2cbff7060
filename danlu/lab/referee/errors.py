"""How a question can end without a verdict on the idea."""

from __future__ import annotations

from danlu.lab.errors import LabError


class Void(LabError):
    """The comparison means nothing; the sentence says why."""

    exit_code = 3


class Failed(LabError):
    """Runs failed, so that there is nothing to compare."""

    exit_code = 4


class Spent(LabError):
    """The budget of seconds is used up before the question is answered."""

    exit_code = 5
