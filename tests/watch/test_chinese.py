"""The pages in Chinese: which language, kept from page to page; nothing is mixed; the same numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from danlu.draw.language import OWN
from danlu.draw.phrases import FILE, chinese
from danlu.files.json import write_json
from danlu.files.yaml import read_mapping
from danlu.lab import ledger
from danlu.watch import serve
from danlu.watch.app import make
from danlu.watch.page import HERE, SEAMS
from danlu.watch.place import id_of
from danlu.watch.tongue import asked_for, placed
from tests.chinese import left, numbers, texts
from tests.lab.reading.folders import make_run
from tests.watch.pages import FROM_A_PAGE, KEYS, PORT, Page, client, page
from tests.watch.test_pages import busy, swept, trial
from tests.watch.test_planned import FIT, PLAN, climbed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Something of everything."""
    here = tmp_path_factory.mktemp("lab")
    trial(here)
    swept(here)
    rungs = [{"rung": {"flops": 10.0**k, "parameters": 10**k}, "gain": [1.5, 1.2, None]} for k in (12, 13)]
    one = {"idea": "+x", "verdict": "scale-bound", "why": "the interval holds no gain",
           "gain": [0.9, 0.5, 1.6], "target_flops": 1e15, "rungs": rungs, "regime": None}  # fmt: skip
    over = here / "studies" / "across"
    over.mkdir()
    write_json(over / "study.json", {"verb": "try", "words": ["+x"]})
    write_json(over / "result.json", {"ideas": [one]})
    climbed(here)
    for k in range(3):
        make_run(here / "runs" / f"run-{k}", f"nano train.seed={k}", [3.0, 2 + k / 9])
    live = make_run(here / "studies" / "runs" / "live", "nano train.steps=100", [3.0], finished=False)
    (live / "samples").mkdir()
    busy(here, tries=2)
    ledger.record(
        verdict="better", statement="它有用", seeds=3, idea="+x", on="nano", at="equal steps", effect=-0.2,
        interval=(-0.3, -0.1), unit="bits per byte", evidence=[Path("studies/try-x")],
        file=here / "ledger.yaml",
    )  # fmt: skip
    write_json(here / "law.json", FIT)
    write_json(here / "plan.json", PLAN)
    return here


def addresses(folder: Path) -> Iterator[str]:
    studies = folder / "studies"
    one, other = (id_of(folder / "runs" / f"run-{k}") for k in (0, 1))
    yield from ("/", "/?group=1&where=lr%3E0&sort=best", "/?where=lr%3E99", "/studies", "/queue", "/ledger")
    yield from (f"/run/{one}?against={other}", f"/run/{id_of(studies / 'runs' / 'live')}?x=flops")
    yield f"/compare?run={one}&run={other}"
    yield "/compare"
    for name in ("try-x", "sweep", "across", "ladder-nano"):
        yield f"/studies/{id_of(studies / name)}"
    yield from ("/laws", f"/laws/{id_of(folder / 'law.json')}", f"/laws/{id_of(folder / 'plan.json')}")


# Names that stand as they are: verbs and words of the command line, fields, values that can be typed.
NAMES = (
    "danlu runs", "danlu try", "danlu sweep", "danlu prove", "danlu laws", "state=finished", "name~tiny",
    "lr>1e-3", "bits_per_byte", "held_out_loss", "held-out examples", "nano", "English", "chinchilla", "verb",
    "score", "seed", "lr", "layers", "objective", "loss",
)  # fmt: skip


def said(html: str) -> list[str]:
    """What a page says but for code, names, options, cells, and what is marked as English."""
    html = re.sub(r'<(span|div|a)\b[^>]*lang="en".*?</\1>', "", html, flags=re.DOTALL)
    html = re.sub(r"<(code|pre|option|td|title|datalist)\b[^>]*>.*?</\1>", "", html, flags=re.DOTALL)
    html = re.sub(
        r'<th scope="row">.*?</th>|<p class="folder".*?</p>|<h1>.*?</h1>', "", html, flags=re.DOTALL
    )
    return texts(html)


def test_no_page_is_mixed(folder: Path) -> None:
    named = [*NAMES, *(path.name for path in folder.rglob("*"))]
    mixed = {}
    for address in addresses(folder):
        html = client(folder).get(f"/zh{address}").text
        assert '<html lang="zh-Hans">' in html
        mixed[address] = left(said(html), named)
    assert {address: texts for address, texts in mixed.items() if texts} == {}


def test_the_numbers_are_those_of_the_english_page(folder: Path) -> None:
    for address in addresses(folder):
        english, zh = (client(folder).get(f"{start}{address}").text for start in ("/en", "/zh"))
        if "/queue" not in address:  # for how long, which goes on
            assert numbers(" ".join(texts(zh))) == numbers(" ".join(texts(english))), address
        for one, other in zip(Page(english).tables, Page(zh).tables, strict=True):
            assert [len(row) for row in one] == [len(row) for row in other]


def test_fields_and_values_stay_as_they_can_be_typed(folder: Path) -> None:
    address = f"/run/{id_of(folder / 'runs' / 'run-0')}"
    assert page(folder, f"/zh{address}").tables[-1][1:] == page(folder, address).tables[-1][1:]


def test_curves_that_a_script_draws_are_named_in_chinese(folder: Path) -> None:
    base = f"/run/{id_of(folder / 'runs' / 'run-0')}/curve.json?metric=loss"
    english, zh = (client(folder).get(f"{start}{base}").json() for start in ("/en", "/zh"))
    assert (zh["x"], zh["y"]) == ("步数", "损失") and (english["x"], english["y"]) == ("steps", "loss")
    assert zh["series"][0]["label"] == "损失"
    assert zh["series"][0]["y"] == english["series"][0]["y"]


def test_what_can_be_typed_is_code(tmp_path: Path) -> None:
    for start in ("", "/zh"):
        html = client(tmp_path).get(f"{start}/ledger").text
        assert "<code>danlu try</code>" in html and "`" not in html


DRAWN = ("difference.svg?idea=%2Bx&metric=bits_per_byte", "forest.svg")


@pytest.mark.parametrize("drawing", DRAWN)
def test_drawings_are_in_the_language_of_their_page(folder: Path, drawing: str) -> None:
    base = f"/studies/{id_of(folder / 'studies' / 'try-x')}/{drawing}"
    english, zh = (client(folder).get(f"{start}{base}").text for start in ("/en", "/zh"))
    assert "变体 − 基线" in zh and "variant" in english and "变体" not in english
    assert left(texts(zh), NAMES) == []


def test_every_text_of_the_templates_has_its_chinese() -> None:
    """Of those without a place all; those with one are seen on the pages above."""
    shelves = read_mapping(resources.files("danlu") / "catalog" / FILE, FILE)
    known = {english for shelf in shelves.values() for english in shelf} | {*SEAMS}
    found = 0
    for path in (HERE / "templates").glob("*.html"):
        for text in re.findall(r'(?:say|plain)\("([^"%]*)"\)', path.read_text()):
            found += 1
            assert chinese(text) != text or text in known, f"{path.name}: {text}"
    assert found > 100


def test_no_text_stands_beside_them() -> None:
    """A template holds no words but by ``say`` and ``plain``."""
    for path in (HERE / "templates").glob("*.html"):
        text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", path.read_text(), flags=re.DOTALL)
        text = re.sub(r"<code>.*?</code>|<title>.*?</title>", "", text, flags=re.DOTALL)
        inside = re.findall(r">([^<>]*[A-Za-z]{2}[^<>]*)<", text)
        attributes = re.findall(r'(?:aria-label|alt|title)="([^"]*[A-Za-z]{2}[^"]*)"', text)
        assert [one.strip() for one in [*inside, *attributes] if one.strip()] == [], path.name


# ---------------------------------------------------------------- which language


@pytest.mark.parametrize(
    ("header", "language"),
    [("", "en"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("en-GB,en;q=0.9,zh;q=0.8", "en"),
     ("de,zh-TW;q=0.5", "zh"),
     ("fr", "en"), ("en;q=0.1, zh;q=0.2", "zh"), ("zh;q=0", "en"), ("zh;q=2", "zh"), ("*;q=0.5", "en"),
     (";;;,q=,zh-", "zh"), ("a" * 9999, "en")],
)  # fmt: skip
def test_the_browser_says_its_language(header: str, language: str) -> None:
    assert asked_for(header) == language


def lang_of(folder: Path, address: str, *, language: str | None = None, asks: str = "") -> str:
    there = client(folder)
    there.app.state.language = language  # type: ignore[attr-defined]
    html = there.get(address, headers={"accept-language": asks}).text
    return str(Page(html).all("html")[0]["lang"])


def test_the_address_goes_before_the_server_and_that_before_the_browser(folder: Path) -> None:
    assert lang_of(folder, "/") == "en" and lang_of(folder, "/", asks="zh") == "zh-Hans"
    assert lang_of(folder, "/", asks="zh", language="en") == "en"
    assert lang_of(folder, "/", language="zh") == "zh-Hans" == lang_of(folder, "/zh/queue", language="en")
    assert lang_of(folder, "/en", asks="zh", language="zh") == "en" == lang_of(folder, "/en/", asks="zh")


def test_the_server_is_started_in_a_language(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import uvicorn

    made = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: made.append(self.config.app))
    for said, language in (("", None), ("zh", "zh"), ("en", "en")):
        monkeypatch.setenv(OWN, said)
        serve.serve(folder, port=None, say=lambda line: None)
        assert made[-1].state.language == language
    assert make(folder, keys=KEYS, port=PORT).state.language is None


def test_a_language_is_kept_from_page_to_page(folder: Path) -> None:
    for address in addresses(folder):
        found = page(folder, f"/zh{address}")
        names = ("href", "src", "action", "hx-get", "data-curve", "hx-sse:connect")
        every = [str(at[name]) for _, at in found.tags for name in names if name in at]
        inside = [one for one in every if one.startswith("/")]
        assert [one for one in inside if not one.startswith(("/zh/", "/static/", "/en"))] == [], address
        (switch,) = [at for at in found.all("a") if at.get("hreflang")]
        assert switch["href"] == f"/en{address}" and switch["lang"] == "en"
        assert page(folder, str(switch["href"])).all("html")[0]["lang"] == "en"


def test_what_is_not_in_the_address_is_not_put_there(folder: Path) -> None:
    assert client(folder).get("/", headers={"accept-language": "zh"}).text.count('href="/zh') == 0
    assert page(folder, "/").all("a", hreflang="zh-Hans")[0]["href"] == "/zh/"


def test_a_form_goes_back_to_its_language(folder: Path) -> None:
    data = {"job": "base-1", "want": "resume", "token": KEYS.write}
    answer = client(folder).post("/zh/queue/control", data=data, headers=FROM_A_PAGE)
    assert answer.headers["location"] == "/zh/queue"


def test_names_of_the_user_are_no_addresses() -> None:
    assert placed('<a href="/run/x">="/&#34;</a><link href="/static/s.css">', "/zh") == (
        '<a href="/zh/run/x">="/zh/&#34;</a><link href="/static/s.css">'
    )
    assert placed('<a href="/">', "") == '<a href="/">'


@pytest.mark.parametrize("address", ["/zh/zh/", "/zhx", "/fr/", "/zh/nothing", "/zh/static/../x", "/ZH/"])
def test_no_other_address_is_a_page(folder: Path, address: str) -> None:
    assert client(folder).get(address).status_code == 404


def test_a_stream_speaks_the_language_of_its_page(folder: Path) -> None:
    from starlette.requests import Request

    from danlu.watch.page import piece

    app = client(folder).app
    scope = {
        "type": "http",
        "app": app,
        "headers": [],
        "danlu.language": "zh",
        "path": "/",
        "query_string": b"",
    }
    html = piece(Request(scope), "facts.html", facts=[("state", "finished"), ("steps", "7")])
    assert "状态" in html and "完成" in html and "步数" in html
    row = {"id": "1", "name": "runs/a", "state": "running", "cells": ["running", "7/9"], "said": 1}
    assert 'href="/zh/run/1"' in (html := piece(Request(scope), "row.html", row=row)) and "运行中" in html
