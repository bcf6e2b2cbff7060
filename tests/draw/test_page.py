"""Pages: they hold everything, load nothing, and escape what they are given."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from danlu.draw import Chart, Link, Table, page

HOSTILE = "<script>alert('&\"')</script><img src=x onerror=alert(1)>"


class Reader(HTMLParser):
    """The tags that are open and never closed, all tags, all text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(html: str) -> Reader:
    html.encode()
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def test_text_stays_text_and_nothing_is_loaded() -> None:
    chart = Chart(HOSTILE, title=HOSTILE, caption=HOSTILE).line([1, 2], [3, 4], HOSTILE)
    table = Table([("head", HOSTILE), (1, HOSTILE)])
    html = page(HOSTILE, [(HOSTILE, [HOSTILE, chart, table]), ("", ["no heading"])])
    reader = read(html)
    assert not {"script", "img", "link", "iframe", "object"} & reader.tags
    assert reader.texts.count(HOSTILE) >= 7
    assert not {"src", "onerror"} & reader.attributes
    assert re.findall(r'href="(?!data:)', html) == []
    assert not re.search(r"@import|url\(", html)
    assert html.count("<h2>") == 1


@given(st.text(alphabet=st.characters()))
def test_any_text_makes_a_page(said: str) -> None:
    read(page(said, [(said, [said, Table([[said], [said]])])]))


@given(st.text(alphabet=st.characters()))
def test_a_link_leads_to_a_file_beside_the_page(name: str) -> None:
    """Whatever it is called, a scheme or a script too."""
    html = page("a", [("", [Table([["run"], [Link(name, name)]])])])
    reader = read(html)
    (place,) = re.findall(r'<a href="([^"]*)"', html)
    assert place.startswith("./") and re.fullmatch(r"[\w./~%-]*", place, flags=re.ASCII)
    assert not {"onerror", "src"} & reader.attributes
    if name.isascii():
        assert unquote(place) == f"./{name}"


def test_a_figure_is_there_for_papers_too() -> None:
    chart = Chart("x", title="The gain").line([1, 2], [3, 4], "a")
    html = page("a", [("", [chart])])
    found = {name: base64.b64decode(data) for name, data in
             re.findall(r'download="([^"]+)" href="data:[\w/+]+;base64,([^"]+)"', html)}  # fmt: skip
    assert found == {"the-gain.svg": chart.paper().encode(), "the-gain.pdf": chart.pdf()}
