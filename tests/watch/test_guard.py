"""Who may ask for what: each rule, with every method and address."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from danlu.watch.app import make
from danlu.watch.guard import BODY, CSP, LONGEST, STILL, Guard, Keys, form_of
from tests.lab.reading.folders import make_run
from tests.watch.pages import FROM_A_PAGE, HERE, KEYS, PORT, client

COOKIE = {"cookie": f"danlu-{PORT}={KEYS.session}"}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "FOO"]
GOOD_HOSTS = ["127.0.0.1:8765", "localhost:8765", "[::1]:8765", "LOCALHOST:8765"]
BAD_HOSTS = [
    "127.0.0.1", "localhost", "[::1]", "127.0.0.1:8766", "localhost:80", "evil.example:8765", "evil.example",
    "127.0.0.1.evil.example:8765", "localhost.:8765", "127.0.0.2:8765", "0.0.0.0:8765", "::1:8765", "",
    "127.0.0.1:8765@evil.example", "127.0.0.1:8765, evil.example", "127.1:8765", "2130706433:8765",
]  # fmt: skip


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    """Stands for the pages: says what came through."""
    said = ""
    if scope["method"] == "POST":
        assert (await Request(scope, receive).body()).decode()  # can be read once more
        said = repr(form_of(scope))
    answer: Response = PlainTextResponse(f"through {said}")
    answer.headers["access-control-allow-origin"] = "none of ours"
    await answer(scope, receive, send)


def behind(names: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")) -> TestClient:
    return TestClient(Guard(inner, keys=KEYS, port=PORT, names=names), base_url=HERE, follow_redirects=False)


def asked(method: str = "GET", **headers: str) -> Any:
    with_names = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"data": {"want": "pause", "token": KEYS.write}} if method == "POST" else {}
    return behind().request(method, "/anything", headers=COOKIE | with_names, **body)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("host", BAD_HOSTS)
def test_another_host_is_refused_whatever_the_method(method: str, host: str) -> None:
    answer = asked(method, host=host, **dict(FROM_A_PAGE))
    assert answer.status_code == 403 and "through" not in answer.text


@pytest.mark.parametrize("host", GOOD_HOSTS)
@pytest.mark.parametrize("method", METHODS)
def test_ours_with_the_methods_there_are(method: str, host: str) -> None:
    answer = asked(method, host=host, origin=f"http://{host}", sec_fetch_site="same-origin")
    assert answer.status_code == (200 if method in ("GET", "HEAD", "POST") else 405)


def test_every_address_of_the_pages_has_the_rule(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "a")
    app = make(tmp_path, keys=KEYS, port=PORT)
    paths = [getattr(route, "path", "") for route in app.routes]
    assert len(paths) > 3
    for path, method in itertools.product([*paths, "/static/style.css", "/nothing"], METHODS):
        there = client(tmp_path)
        address = path.replace("{id}", "0" * 12)
        assert there.request(method, address, headers={"host": "evil.example:8765"}).status_code == 403
        unknown = client(tmp_path, known=False).request(method, address, headers=FROM_A_PAGE)
        assert unknown.status_code in (401, 405)


def head(*headers: tuple[bytes, bytes], kind: str = "http") -> list[Message]:
    """The answer to a request as a server hands it over, which a client library would not send."""
    found: list[Message] = []
    scope = {
        "type": kind, "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"",
        "headers": list(headers),
    }  # fmt: skip

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        found.append(message)

    asyncio.run(Guard(inner, keys=KEYS, port=PORT)(scope, receive, send))
    return found


def test_no_host_two_hosts_and_sockets() -> None:
    ours, cookie = (b"host", b"127.0.0.1:8765"), (b"cookie", COOKIE["cookie"].encode())
    assert head(ours, cookie)[0]["status"] == 200
    assert head(cookie)[0]["status"] == 403
    assert head(ours, (b"host", b"evil.example"), cookie)[0]["status"] == 403
    assert head(ours, cookie, kind="websocket") == [{"type": "websocket.close", "code": 1008}]


# ---------------------------------------------------------------- the token and the cookie


def test_the_printed_address_gives_a_cookie_and_hides_its_token() -> None:
    answer = behind().get("/run/x?token=the-token&metric=loss")
    assert (answer.status_code, answer.headers["location"]) == (303, "/run/x?metric=loss")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"danlu-{PORT}={KEYS.session};")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert KEYS.token not in cookie and KEYS.write not in cookie


@pytest.mark.parametrize("query", ["token=", "token=the-toke", "token=the-token2", "token=a&token=the-token",
                                   "token=%00", "token=%ff", "token=t\u0151ken"])  # fmt: skip
def test_another_token_gives_nothing(query: str) -> None:
    answer = behind().get(f"/?{query}")
    assert answer.status_code == 401 and "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "///evil.example/x"])
def test_the_way_in_leads_nowhere_else(path: str) -> None:
    answer = behind().get(f"{HERE}{path}?token=the-token")
    assert answer.headers["location"].startswith("/") and answer.headers["location"][1:2] not in ("/", "\\")


COOKIES = [
    "", "danlu-8765=", "danlu-8765=the-token", "danlu-8766=the-session", "danlu=the-session",
    "danlu-8765=the-sessiom", ";;;=", "danlu-8765=\u00e9",
]  # fmt: skip


@pytest.mark.parametrize("cookie", COOKIES)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_without_the_cookie_nothing_is_shown_or_written(cookie: str, method: str) -> None:
    data = {"data": {"token": KEYS.write}} if method == "POST" else {}
    headers = {"cookie": cookie.encode("latin-1")} | {k: v.encode() for k, v in FROM_A_PAGE.items()}
    answer = behind().request(method, "/", headers=headers, **data)
    assert answer.status_code == 401 and "through" not in answer.text


def test_keys_differ_from_each_other_and_from_start_to_start() -> None:
    many = [key for _ in range(20) for key in vars(Keys()).values()]
    assert len(set(many)) == 60 and min(map(len, many)) >= 32


# ---------------------------------------------------------------- writing

ORIGINS = [HERE, "http://localhost:8765", "http://127.0.0.1:8766", "http://127.0.0.1", "https://127.0.0.1:8765",
           "http://evil.example", "null", "", None]  # fmt: skip
SITES = ["same-origin", "same-site", "cross-site", "none", "", None]
TOKENS: list[tuple[str, bool]] = [
    (KEYS.write, True),
    (KEYS.token, False),
    (KEYS.session, False),
    ("", False),
    ("x", False),
]


@pytest.mark.parametrize("in_header", [True, False])
@pytest.mark.parametrize(("token", "right"), TOKENS)
@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("origin", ORIGINS)
def test_only_a_page_of_ours_writes(
    origin: str | None, site: str | None, token: str, right: bool, in_header: bool
) -> None:
    given = {"origin": origin, "sec-fetch-site": site, "x-danlu-token": token if in_header else None}
    headers = COOKIE | {name: value for name, value in given.items() if value is not None}
    data = {"want": "pause"} | ({} if in_header else {"token": token})
    answer = behind().post("/", headers=headers, data=data)
    allowed = origin == HERE and site == "same-origin" and right
    assert (answer.status_code == 200) == allowed
    assert answer.text == ("through {'want': 'pause'}" if allowed else answer.text)
    assert ("through" in answer.text) == allowed


def test_a_named_machine_without_tls_is_not_told_the_site() -> None:
    """Browsers leave Sec-Fetch-Site out there; the origin must be it then, and the token."""
    there = behind(("127.0.0.1", "lab.local"))
    data = {"want": "pause", "token": KEYS.write}
    headers = COOKIE | {"host": "lab.local:8765", "origin": "http://lab.local:8765"}
    assert there.post("/", headers=headers, data=data).status_code == 200
    assert there.post("/", headers=headers | {"sec-fetch-site": "cross-site"}, data=data).status_code == 403
    assert there.post("/", headers=headers | {"origin": HERE}, data=data).status_code == 403
    assert there.post("/", headers=headers, data={"want": "pause"}).status_code == 403


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data; boundary=x", ""])
def test_only_forms_write(kind: str) -> None:
    headers = COOKIE | FROM_A_PAGE | {"x-danlu-token": KEYS.write, "content-type": kind}
    assert behind().post("/", headers=headers, content=b"want=pause").status_code == 415


def test_get_never_writes(tmp_path: Path) -> None:
    """No address that takes POST takes GET for the same."""
    app = make(tmp_path, keys=KEYS, port=PORT)
    for route in app.routes:
        assert getattr(route, "methods", {"GET", "HEAD"}) in ({"GET", "HEAD"}, {"POST"})


# ---------------------------------------------------------------- other pages of the same browser


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("mode", ["no-cors", "cors", None])
def test_other_pages_embed_nothing(site: str, mode: str | None) -> None:
    headers = {"sec-fetch-site": site} | ({"sec-fetch-mode": mode} if mode else {})
    assert behind().get("/", headers=COOKIE | headers).status_code == 403


def test_a_link_from_elsewhere_may_be_followed() -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert behind().get("/?token=the-token", headers=headers).status_code == 303


@pytest.mark.parametrize("origin", ["http://evil.example", "null"])
def test_nobody_else_may_read(tmp_path: Path, origin: str) -> None:
    answer = client(tmp_path).get("/", headers={"origin": origin})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_headers_of_every_answer(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs" / "a")
    assert run.is_dir()
    there, stranger = client(tmp_path), client(tmp_path, known=False)
    paths = ["/", "/nothing", "/?where=x", "/static/style.css", "/static/nothing"]
    answers = [*map(there.get, paths), there.put("/"), stranger.get("/"), stranger.get("/?token=the-token")]
    assert [answer.status_code for answer in answers] == [200, 404, 400, 200, 404, 405, 401, 303]
    for answer in answers:
        assert answer.headers["content-security-policy"] == CSP
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    rules = dict(rule.split(" ", 1) for rule in CSP.split("; "))
    assert rules["default-src"] == "'none'" and rules["script-src"] == rules["style-src"] == "'self'"
    assert "unsafe" not in CSP and "*" not in CSP and "script-src" not in STILL and "sandbox" in STILL


# ---------------------------------------------------------------- caps


def test_caps_on_what_is_sent() -> None:
    there, token = behind(), {"x-danlu-token": KEYS.write}
    form = COOKIE | FROM_A_PAGE | token | {"content-type": "application/x-www-form-urlencoded"}
    assert there.post("/", headers=form, content=b"a=" + b"x" * (BODY - 2)).status_code == 200
    assert there.post("/", headers=form, content=b"a=" + b"x" * (BODY - 1)).status_code == 413
    assert there.post("/", headers=form, content=iter([b"a=" + b"x" * BODY, b"x"])).status_code == 413
    assert there.post("/", headers=form, content=b"&".join(b"a=1" for _ in range(21))).status_code == 400
    assert there.post("/", headers=form, content=b"a=\xff").status_code == 400
    assert there.get("/?a=" + "x" * LONGEST, headers=COOKIE).status_code == 414
    assert there.get("/?" + "a=1&" * 21, headers=COOKIE).status_code == 400
