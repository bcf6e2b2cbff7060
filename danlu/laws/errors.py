"""What goes wrong with laws and their points: one sentence that says what to mend."""

from __future__ import annotations

from danlu.spec.errors import DanluError


class LawError(DanluError):
    """Points that a law cannot be fitted to, or a question that a law cannot answer."""


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
