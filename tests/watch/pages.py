"""The page of a folder, asked without a server, and HTML taken apart."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from danlu.watch.app import make
from danlu.watch.guard import Keys

PORT = 8765
HERE = f"http://127.0.0.1:{PORT}"
KEYS = Keys(token="the-token", session="the-session", write="the-write")
FROM_A_PAGE = {"origin": HERE, "sec-fetch-site": "same-origin"}


def client(folder: Path, *, known: bool = True) -> TestClient:
    """A browser; ``known``: that has opened the printed address."""
    app = make(folder, keys=KEYS, port=PORT)
    cookies = {f"danlu-{PORT}": KEYS.session} if known else {}
    return TestClient(app, base_url=HERE, cookies=cookies, follow_redirects=False)


class Page(HTMLParser):
    """A page's tags in their order, its text, and the cells of its tables, row by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.tables: list[list[list[str]]] = []
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._cell:
            self.tables[-1][-1][-1] += data.strip()

    def all(self, tag: str, **having: str) -> list[dict[str, str | None]]:
        """The attributes of each such tag."""
        return [at for name, at in self.tags if name == tag and having.items() <= at.items()]


def page(folder: Path, address: str, status: int = 200) -> Page:
    """What stands at an address."""
    answer = client(folder).get(address)
    assert answer.status_code == status, answer.text
    return Page(answer.text)
