"""What was found of a part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


class Wrong(Exception):
    """What does not hold, in words."""


class Told(Exception):
    """What is only told: nobody asks that it holds."""


@dataclass(frozen=True)
class Check:
    """``holds``: None where it is only told."""

    name: str
    holds: bool | None
    said: str = ""


@dataclass
class Report:
    """The checks of a part; printed, a table."""

    part: str
    checks: list[Check] = field(default_factory=list)

    @property
    def wrong(self) -> list[Check]:
        """The checks that do not hold."""
        return [check for check in self.checks if check.holds is False]

    def add(self, name: str, check: Callable[[], str]) -> None:
        """Run ``check``, which returns what holds, in words, or raises ``Wrong`` or ``Told``; what else the
        user's class raises is wrong too."""
        try:
            holds, said = True, check()
        except Told as told:
            holds, said = None, str(told)
        except Wrong as wrong:
            holds, said = False, str(wrong)
        except Exception as error:
            holds, said = False, first_line(error)
        self.checks.append(Check(name, holds, said))

    def __str__(self) -> str:
        marks = {True: "holds", False: "WRONG", None: " told"}
        width = max((len(check.name) for check in self.checks), default=0)
        rows = [f"  {marks[c.holds]}  {c.name.ljust(width)}  {c.said}".rstrip() for c in self.checks]
        return "\n".join([self.part, *rows])

    __repr__ = __str__


def first_line(error: Exception) -> str:
    """An error in one line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:200]
