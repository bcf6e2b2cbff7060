"""What goes wrong with laws and their points: one sentence that says what to mend."""

from __future__ import annotations

from danlu.spec.errors import DanluError

# Codes of warnings, the gravest first: what puts all numbers in doubt, then what the points cannot tell.
GRAVE = (
    "not-nats", "loss-unit", "rising-loss", "train-loss", "overflow", "small-sizes", "flop-count",
    "no-freedom", "exact", "mixed-sources", "two-parts", "diverged", "sweep", "mixed-counting",
    "active-parameters", "non-embedding", "experts", "repeated-data", "held-contradicts", "floor-above",
    "off-together", "not-at-rest", "one-start", "equal-starts", "at-bound", "no-intervals", "lack-of-fit",
    "not-identified",
)  # fmt: skip


class LawError(DanluError):
    """Points that a law cannot be fitted to, or a question that a law cannot answer."""


class NoColumnError(LawError):
    """A file that lacks a column which is needed."""


class Warned(str):
    """A warning: a sentence for people, which this text is, and a ``code`` for programs.

    Codes are lower-case words with dashes (``not-identified``); they stay when the sentence is reworded.
    """

    code: str

    def __new__(cls, code: str, text: object) -> Warned:
        made = super().__new__(cls, text)
        made.code = code
        return made

    def __reduce__(self) -> tuple[type[Warned], tuple[str, str]]:  # copies and pickles keep the code
        return Warned, (self.code, str(self))

    def json(self) -> dict[str, str]:
        """Code and text."""
        return {"code": self.code, "text": str(self)}


def weight(warned: Warned) -> int:
    """The place of a warning among others: the gravest comes first, and ``len(GRAVE)`` is no grave one."""
    return GRAVE.index(warned.code) if warned.code in GRAVE else len(GRAVE)
