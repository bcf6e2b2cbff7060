"""How a page is put together: templates that escape everything, and drawings as images of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from danlu.draw.figure import Drawing
from danlu.files.escape import escape
from danlu.watch.guard import STILL

HERE = Path(__file__).parent
SHOWN = 200  # rows of a table beside a drawing
DRAWN = 2000  # points of a curve: about two a pixel


@cache
def templates() -> Environment:
    """Those of this folder. A value is text, and nothing in it turns the direction of writing."""
    return Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: escape(value) if type(value) is str else value,
    )


def html(request: Request, template: str, *, status: int = 200, **shown: Any) -> HTMLResponse:
    """A page. What htmx asks for is the same page, of which it takes a part."""
    state = request.app.state
    text = templates().get_template(template).render(
        at=request.url.path, folder=str(state.place.folder), write=state.keys.write, **shown
    )  # fmt: skip
    return HTMLResponse(text, status_code=status)


def drawing(drawn: Drawing) -> Response:
    """A drawing at its own address, shown as an image. It holds its style, so it has rules of its own."""
    return Response(drawn.svg(), media_type="image/svg+xml", headers={"content-security-policy": STILL})


def address(path: str, query: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> str:
    """A path with its query; what is empty is left out."""
    pairs = query.items() if isinstance(query, Mapping) else query
    said = [(name, value) for name, value in pairs if value not in (None, "", False)]
    return f"{path}?{urlencode(said)}" if said else path


def envelope(points: Sequence[tuple[float, float]], most: int = DRAWN) -> list[tuple[float, float]]:
    """At most ``most`` points that look like all of them: of each of equal parts of them the first, the
    lowest, the highest and the last."""
    if len(points) <= most:
        return list(points)
    parts = most // 4
    found: list[tuple[float, float]] = []
    for k in range(parts):
        start, end = k * len(points) // parts, (k + 1) * len(points) // parts
        within = range(start, end)
        known = [i for i in within if math.isfinite(points[i][1])]
        kept = {start, end - 1}
        if known:
            kept |= {min(known, key=lambda i: points[i][1]), max(known, key=lambda i: points[i][1])}
        found += [points[i] for i in sorted(kept)]
    return found
