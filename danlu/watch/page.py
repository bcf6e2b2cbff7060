"""How a page is put together: templates that escape everything, and drawings as images of their own."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from markupsafe import escape as escape_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from danlu.draw.figure import Drawing
from danlu.draw.phrases import english
from danlu.files.escape import escape
from danlu.watch.guard import STILL
from danlu.watch.tongue import NAMES, TAGS, language_of, placed, prefix_of, words_of

HERE = Path(__file__).parent
SHOWN = 200  # rows of a table beside a drawing
DRAWN = 2000  # points of a curve: about two a pixel
SEAMS = {": ": "：", "; ": "；", ", ": "，"}  # between what is said
OTHER = "OTHER-LANGUAGE"  # of a page: where its address in the other language belongs
_ENGLISH = re.compile("[a-z]{2,} [a-z]{2,}")
_BACKTICKS = re.compile("`([^`]+)`")


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
    state, language = request.app.state, language_of(request)
    query = f"?{request.url.query}" if request.url.query else ""
    other = "en" if language == "zh" else "zh"
    text = piece(
        request, template, at=request.url.path, folder=str(state.place.folder), write=state.keys.write,
        lang=TAGS[language], other_tag=TAGS[other], other_name=NAMES[other], **shown,
    )  # fmt: skip
    # Its own prefix is another than that of the addresses of this page.
    text = text.replace(OTHER, escape_html(f"/{other}{request.url.path}{query}"))
    return HTMLResponse(text, status_code=status)


def piece(request: Request, template: str, **shown: Any) -> str:
    """A page or a part of it, in the language of the request: ``say`` is for texts, ``plain`` for the same
    in attributes."""
    words = words_of(request)

    def say(text: Any) -> Markup:
        said = words(str(text)) if words is english or text not in SEAMS else SEAMS[text]
        left = (
            words is not english and said == text and _ENGLISH.search(said)
        )  # as a study wrote it, or a law
        return Markup('<span lang="en">{}</span>').format(_code(said)) if left else _code(said)

    found = templates().get_template(template)
    text = found.render(say=say, plain=lambda text: words(str(text)), **shown)
    return placed(text, prefix_of(request))


def _code(text: str) -> Markup:
    """Text as HTML, what stands between backticks as code."""
    return Markup(_BACKTICKS.sub(r"<code>\1</code>", str(escape_html(escape(text)))))


def drawing(request: Request, drawn: Drawing) -> Response:
    """A drawing at its own address, shown as an image. It holds its style, so it has rules of its own."""
    words = words_of(request)
    said = drawn.reworded(words) if words is not english and hasattr(drawn, "reworded") else drawn
    return Response(said.svg(), media_type="image/svg+xml", headers={"content-security-policy": STILL})


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
