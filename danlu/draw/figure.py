"""What every drawing can do beside drawing itself: be shown in a notebook, and be a figure of a paper."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

from danlu.draw.paper import COLUMN, paper, pixels
from danlu.draw.pdf import pdf, shown
from danlu.draw.phrases import Words
from danlu.draw.xml import text, uri
from danlu.files.errors import FileError
from danlu.files.overwrite import check_output
from danlu.files.paths import expanded
from danlu.files.write import write_atomically

ENDINGS = (".svg", ".pdf")
IN_ENGLISH = "The PDF is in English: no TrueType font with Chinese letters was found here."


class Figure:
    """Base class of a chart, points, maps, a graph. ``title``, ``caption``: what it is, and what it shows."""

    title: str
    caption: str
    english: Figure | None = None  # the same in English, of one that was reworded

    def svg(self) -> str:
        """The drawing: well-formed XML that holds its own style, for light and dark surroundings."""
        raise NotImplementedError

    def reworded(self, words: Words) -> Figure:
        """The same with all that it says in other words, where it can."""
        return self

    def sized(self, width: int) -> Figure:
        """The same, about so many pixels wide, if it can be; itself if it cannot."""
        return self

    @property
    def said(self) -> str:
        """What it is, in a line."""
        return ": ".join(filter(None, (self.title, self.caption)))

    def paper(self, width_mm: float = COLUMN) -> str:
        """SVG for a page of paper: light, with its colours as attributes, one named font (DejaVu Sans
        Condensed), letters of 7 points or more at this width in millimetres (82.5: a column; 139.7: the text
        of a page)."""
        return paper(self.sized(pixels(width_mm)).svg(), width_mm, self.said)

    def pdf(self, width_mm: float = COLUMN, drawn: str = "") -> bytes:
        """The same as PDF, with its fonts embedded (TrueType): in English where none has the letters.
        ``drawn``: what ``paper`` gave, where that is known."""
        drawn = drawn or self.paper(width_mm)
        return pdf(drawn) if self.english is None or shown(drawn) else self.english.pdf(width_mm)

    def save(self, path: str | os.PathLike[str], width_mm: float = COLUMN, force: bool = False) -> None:
        """Write it for a paper, as the ending of ``path`` says: ``.svg`` or ``.pdf``. Raises ``FileError``
        for another one, and where a file is there that danlu did not write (``force``: write over it)."""
        path = check_figure(path, force)
        data = self.paper(width_mm).encode() if path.suffix == ".svg" else self.pdf(width_mm)
        write_atomically(path, data)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"image/svg+xml": self.svg(), "text/html": as_image(self), "text/plain": repr(self)}


def check_figure(path: str | os.PathLike[str], force: bool = False) -> Path:
    """Where a figure goes. Raises ``FileError`` where its name does not end in .svg or .pdf, or where
    something is there that may not be written over."""
    path = expanded(path)
    if path.suffix not in ENDINGS:
        raise FileError(f"{path}: a figure's name ends in {' or '.join(ENDINGS)}; name it so")
    check_output(path, force)
    return path


class Drawing(Protocol):
    """A figure: a chart, points, a picture of pixels."""

    @property
    def caption(self) -> str: ...

    def svg(self) -> str: ...


def as_image(figure: Drawing) -> str:
    """HTML: an image that holds the drawing, since a style within a page would be one for the whole page."""
    data = uri("image/svg+xml", figure.svg().encode())
    caption = f"<figcaption>{text(figure.caption)}</figcaption>" if figure.caption else ""
    alt = text(getattr(figure, "title", "") or figure.caption or "figure")
    return f'<figure><img alt="{alt}" src="{data}">{caption}</figure>'
