"""What a notebook shows of an object: text, tables and charts, with no style for the rest of the page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from danlu.draw.chart import Chart
from danlu.draw.page import Part, Table
from danlu.draw.xml import text


class Displayed:
    """Base class of what a notebook shows by its ``display``; elsewhere it is its ``repr``."""

    def display(self) -> Sequence[Part]:
        """Text (lines), tables and charts, in their order."""
        raise NotImplementedError

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        parts = self.display()
        shown = {"text/plain": repr(self), "text/html": "\n".join(map(_html, parts))}
        chart = next((part for part in parts if isinstance(part, Chart)), None)
        return shown if chart is None else shown | {"image/svg+xml": chart.svg()}


def _html(part: Part) -> str:
    """A chart is an image, since a style within a page would be one for the whole page."""
    match part:
        case Chart():
            data = base64.b64encode(part.svg().encode()).decode()
            said = text(part.title or part.caption or f"{part.y} over {part.x}")
            caption = f"<figcaption>{text(part.caption)}</figcaption>" if part.caption else ""
            return f'<figure><img alt="{said}" src="data:image/svg+xml;base64,{data}">{caption}</figure>'
        case Table():
            return part.html()
    return f'<div style="white-space:pre-wrap">{text(part)}</div>'
