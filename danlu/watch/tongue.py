"""Which language a page is in: what its address begins with (``/zh/…``, ``/en/…``), else what the server was
started with, else what the browser asks for. Pages are made in English, and said by ``danlu.draw.phrases``.

Verbs, fields, values, names and errors are English in every language.
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from danlu.draw.language import LANGUAGES
from danlu.draw.phrases import Words, words

TAGS = {"en": "en", "zh": "zh-Hans"}
NAMES = {"en": "English", "zh": "中文"}
KEY = "danlu.language"  # of a scope: what its address began with
_ADDRESS = re.compile(r'="/(?!static/)')


class Tongue:
    """ASGI middleware: takes the language off the address, so that every route has one path."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            first, _, rest = scope["path"].removeprefix("/").partition("/")
            if first in LANGUAGES:
                scope = {**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode(), KEY: first}
        await self.app(scope, receive, send)


def prefix_of(request: Request) -> str:
    """What addresses of this page begin with, so that the next one is in its language."""
    return f"/{request.scope[KEY]}" if KEY in request.scope else ""


def language_of(request: Request) -> str:
    """``en`` or ``zh``."""
    found: str | None = request.scope.get(KEY) or request.app.state.language
    return found or asked_for(Headers(scope=request.scope).get("accept-language", ""))


def words_of(request: Request) -> Words:
    """From English to the language of the page."""
    return words(language_of(request))


def asked_for(header: str) -> str:
    """The first of our languages by the weights of ``Accept-Language``; English where it names none."""
    found = []
    for place, one in enumerate(header[:1000].split(",")):
        tag, _, weight = one.strip().partition(";")
        language = tag.strip().lower().partition("-")[0]
        given = re.fullmatch(r"\s*q=([01](?:\.[0-9]{0,3})?)\s*", weight) if weight else None
        if language in LANGUAGES and (q := float(given[1]) if given else 1.0):
            found.append((-q, place, language))
    return min(found)[2] if found else "en"


def placed(html: str, prefix: str) -> str:
    """HTML with the addresses in it after ``prefix``. What is no attribute of ours has its quotes escaped."""
    return _ADDRESS.sub(f'="{prefix}/', html) if prefix else html
