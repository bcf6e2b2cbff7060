"""What a notebook shows of an object: text, tables and charts, with no style for the rest of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from danlu.draw.figure import as_image
from danlu.draw.language import language
from danlu.draw.page import Part, reworded
from danlu.draw.phrases import words
from danlu.draw.xml import text


class Displayed:
    """Base class of what a notebook shows by its ``display``; elsewhere it is its ``repr``."""

    def display(self) -> Sequence[Part]:
        """Text (lines), tables and figures, in their order."""
        raise NotImplementedError

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        said = words(language())
        parts = [reworded(part, said) for part in self.display()]
        shown = {"text/plain": repr(self), "text/html": "\n".join(map(_html, parts))}
        figure = next((part for part in parts if hasattr(part, "svg")), None)
        return shown if figure is None else shown | {"image/svg+xml": figure.svg()}


def _html(part: Part) -> str:
    if isinstance(part, str):
        return f'<div style="white-space:pre-wrap">{text(part)}</div>'
    return part.html() if hasattr(part, "html") else as_image(part)
