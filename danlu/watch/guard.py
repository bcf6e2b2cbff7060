"""Who may ask for what: every request passes here first, whatever its method and address.

A page in the same browser can send requests to this machine, under a name that it has pointed here. So: the
name in ``Host`` must be one of ours with our port; whoever has not opened the address that was printed gets
nothing; what writes must come from a page of ours, which the browser says (``Origin``, ``Sec-Fetch-Site``)
and the page shows by a token. Nothing is answered with headers that let other pages read it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LONGEST = 4096  # bytes of an address
BODY = 16 << 10  # bytes of a form
FIELDS = 20  # of a form, or of an address
METHODS = ("GET", "HEAD", "POST")
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
FORM, TOKEN, TOKEN_HEADER = "danlu.form", "token", "x-danlu-token"

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
# A browser calls the origin of a form "null" under no-referrer, and a form could write nothing without
# scripts. same-origin tells other places as little.
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
# Of a drawing, or of a page that a verb wrote: it may hold its style, and runs nothing.
STILL = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"


@dataclass(frozen=True)
class Keys:
    """Three secrets. ``token``: of the address that is printed; ``session``: of the cookie; ``write``: of the
    forms on a page."""

    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    session: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    write: str = field(default_factory=lambda: secrets.token_urlsafe(24))


class Guard:
    """ASGI middleware. ``port``: ours. ``names``: by which we are called, beside those of this machine."""

    def __init__(self, app: ASGIApp, *, keys: Keys, port: int, names: Iterable[str] = LOOPBACK) -> None:
        self.app, self.keys = app, keys
        self.hosts = {f"{name.lower()}:{port}" for name in names}
        self.local = {f"{name}:{port}" for name in LOOPBACK}
        self.cookie = f"danlu-{port}"  # cookies know no ports: two servers would take each other's

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        answer = self._first(scope)
        if answer is None and scope["method"] == "POST":
            answer, receive = await self._write(scope, receive)
        await (answer or self.app)(scope, receive, _with_headers(send))

    def _first(self, scope: Scope) -> Response | None:
        """The refusal of a request by its head, or the way in; None where it may go on."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            return _refused(403, "this is not the address that danlu watch printed")
        if scope["method"] not in METHODS:
            return _refused(405, "only GET, HEAD and POST are answered")
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > LONGEST:
            return _refused(414, "the address is too long")
        site, mode = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")
        if site not in (None, "same-origin", "none") and mode != "navigate":
            return _refused(403, "another page asks for this")
        try:
            asked = parse_qsl(scope["query_string"].decode("latin-1"), max_num_fields=FIELDS)
        except ValueError:
            return _refused(400, "the address has too many fields")
        given = [value for name, value in asked if name == TOKEN]
        if given and scope["method"] == "GET":
            return self._way_in(scope, given, [pair for pair in asked if pair[0] != TOKEN])
        if not self._known(headers):
            return _refused(401, "open the address that danlu watch printed; it has a token")
        return None

    def _way_in(self, scope: Scope, given: list[str], others: list[tuple[str, str]]) -> Response:
        """From the printed address to the same without its token, which would stay in the history."""
        if len(given) != 1 or not _same(given[0], self.keys.token):
            return _refused(401, "the token is not that of this server; open the address that it printed")
        path = "/" + scope["path"].lstrip("/\\")  # //elsewhere would be another server
        answer = RedirectResponse(f"{path}?{urlencode(others)}" if others else path, status_code=303)
        answer.set_cookie(self.cookie, self.keys.session, httponly=True, samesite="strict")
        return answer

    def _known(self, headers: Headers) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        return cookie is not None and _same(cookie.value, self.keys.session)

    async def _write(self, scope: Scope, receive: Receive) -> tuple[Response | None, Receive]:
        """The refusal of a form, or what receives it once more, read into the scope."""
        headers = Headers(scope=scope)
        host = headers["host"]
        if headers.getlist("origin") != [f"http://{host}"]:
            return _refused(403, "only a page of this server may write"), receive
        site = headers.get("sec-fetch-site")
        # Browsers do not send it to other machines without TLS.
        if site != "same-origin" and not (site is None and host.lower() not in self.local):
            return _refused(403, "only a page of this server may write"), receive
        if headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
            return _refused(415, "only a form may write"), receive
        body = await _body(receive)
        if body is None:
            return _refused(413, "the form is too large"), receive
        try:
            form = dict(parse_qsl(body.decode(), max_num_fields=FIELDS, keep_blank_values=True))
        except ValueError:
            return _refused(400, "the form cannot be read"), receive
        if not _same(headers.get(TOKEN_HEADER) or form.pop(TOKEN, ""), self.keys.write):
            return _refused(403, "the page is of an earlier start of danlu watch; load it again"), receive
        scope[FORM] = form
        return None, _again(body, receive)


def _refused(status: int, sentence: str) -> Response:
    return PlainTextResponse(f"danlu: {sentence}\n", status_code=status)


def _same(given: str, secret: str) -> bool:
    return secrets.compare_digest(given.encode(errors="replace"), secret.encode())


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None where it is too large, or its sender has gone."""
    found = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        found += message.get("body", b"")
        if len(found) > BODY:
            return None
        if not message.get("more_body", False):
            return bytes(found)


def _again(body: bytes, receive: Receive) -> Receive:
    said = False

    async def once_more() -> Message:
        nonlocal said
        if said:
            return await receive()
        said = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once_more


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            own = headers.get("content-security-policy")
            for name, value in HEADERS.items():
                headers[name] = value
            if own == STILL:
                headers["content-security-policy"] = own
        await send(message)

    return sending


def form_of(scope: Scope) -> dict[str, Any]:
    """The fields of a form that may write."""
    found: dict[str, Any] = scope[FORM]
    return found
