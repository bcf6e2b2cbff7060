"""What is asked of ideas, as a person says it. No torch here."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from danlu.lab.budget import Budget
from danlu.lab.errors import LabError
from danlu.lab.limits import SEEDS, within
from danlu.lab.study import folder_name
from danlu.spec import catalog

BED, PAIRS = "bed", 5  # where nothing else is said
LONGEST = 40  # characters of a baseline's words that every line can repeat


def plain(ideas: Iterable[str]) -> tuple[str, ...]:
    """Ideas as they are written without the + before them, which may be left out: one question whether it is
    or not."""
    return tuple(idea.strip().removeprefix("+") for idea in ideas)


def bed_of(ideas: Iterable[str]) -> str:
    """The recipe that ideas are tried on where nothing else is said: the first that one of them names."""
    names = [name for words in plain(ideas) for name in words.replace("+", " ").split()]
    known = [catalog.idea(name).on for name in names if name in catalog.names("ideas")]
    return next(filter(None, known), BED)


def label(on: str) -> str:
    """The baseline's words where they are short; else the first of them with ``…``, for lines that come after
    one that says them all."""
    return on if len(on) <= LONGEST else f"{on.split()[0]} …"


@dataclass(frozen=True)
class Question:
    """``ideas`` and the baseline's words ``on`` as a person writes them (none: those
    of ``bed_of``); ``seeds``, the number of pairs;
    ``budget`` of a run (none: the recipe's own bound); ``tune``: ``lr``, each side at its own best rate, or
    none; ``stop_early``: as soon as a sequential test decides."""

    ideas: tuple[str, ...]
    on: str = ""
    seeds: int = PAIRS
    budget: str | None = None
    tune: str | None = "lr"
    stop_early: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "ideas", plain(self.ideas))
        object.__setattr__(self, "on", self.on or bed_of(self.ideas))

    @property
    def name(self) -> str:
        """The study's, made of its words, so that the same command finds its runs again."""
        more = [self.budget or "", f"tune-{self.tune}" if self.tune else "", "stop-early" * self.stop_early]
        return folder_name("-".join(["try", *self.ideas, "on", self.on, *filter(None, more)]))

    def check(self) -> None:
        """Raises ``LabError`` for what can't be asked."""
        within("--seeds", self.seeds, SEEDS)
        if self.tune not in (None, "lr"):
            raise LabError(f"--tune = {self.tune!r}; what can be tuned is lr; none leaves it out")
        if self.budget is not None:
            Budget.parse(self.budget)

    def command(self, *more: str, **other: Any) -> str:
        """The words that ask this on a command line, ``other`` fields than these, and ``more`` words."""
        asked = replace(self, **other)
        words: Sequence[tuple[bool, list[str]]] = [
            (asked.on != bed_of(asked.ideas), ["--on", asked.on]),
            (asked.seeds != PAIRS, ["--seeds", str(asked.seeds)]),
            (asked.budget is not None, ["--budget", asked.budget or ""]),
            (asked.tune is None, ["--tune", "none"]),
            (asked.stop_early, ["--stop-early"]),
        ]
        options = [word for said, option in words if said for word in option]
        return shlex.join(["danlu", "try", *asked.ideas, *options, *more])
