"""What a notebook shows of an object: text, tables and charts, with no style for the rest of the page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from danlu.draw.chart import Chart
from danlu.draw.page import Part
from danlu.draw.xml import text


class Displayed:
    """Base class of what a notebook shows by its ``display``; elsewhere it is its ``repr``."""

    def display(self) -> Sequence[Part]:
        """Text (lines), tables and figures, in their order."""
        raise NotImplementedError

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        parts = self.display()
        shown = {"text/plain": repr(self), "text/html": "\n".join(map(_html, parts))}
        figure = next((part for part in parts if hasattr(part, "svg")), None)
        return shown if figure is None else shown | {"image/svg+xml": figure.svg()}


def _html(part: Part) -> str:
    """A figure is an image, since a style within a page would be one for the whole page."""
    if isinstance(part, str):
        return f'<div style="white-space:pre-wrap">{text(part)}</div>'
    if hasattr(part, "html"):
        return part.html()
    data = base64.b64encode(part.svg().encode()).decode()
    axes = f"{part.y} over {part.x}" if isinstance(part, Chart) else "figure"
    said = text(getattr(part, "title", "") or part.caption or axes)
    caption = f"<figcaption>{text(part.caption)}</figcaption>" if part.caption else ""
    return f'<figure><img alt="{said}" src="data:image/svg+xml;base64,{data}">{caption}</figure>'
