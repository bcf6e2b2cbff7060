"""The pages in a real browser: by keyboard, in the dark, on a phone, without scripts, live, attacked."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from danlu.draw.picture import png
from danlu.files.json import to_json, write_json
from danlu.files.lock import Lock
from danlu.lab import ledger
from danlu.lab.queue.control import CONTROL
from danlu.train.metrics import truncate_after
from danlu.watch.place import id_of
from tests.lab.reading.folders import make_run
from tests.watch import browser as real
from tests.watch.browser import Browser, Site, opened
from tests.watch.test_pages import busy, swept, trial
from tests.watch.test_planned import FIT, PLAN, climbed

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not real.THERE, reason=real.WHY)]

HOSTILE = "<img src=x onerror=document.title='taken'>"
TAB, ENTER, SPACE = "\ue004", "\ue007", " "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trial, a sweep, a queue with a job that runs, a ledger, a law, runs of all kinds."""
    here = tmp_path_factory.mktemp("lab")
    trial(here)
    swept(here)
    for k in range(4):
        make_run(
            here / "runs" / f"run-{k}", f"nano train.seed={k} optimizer.lr={(k + 1) / 1000}", [3.0, 2 + k / 9]
        )
    make_run(here / "runs" / HOSTILE, "nano train.seed=9", [3.0, 2.7])
    live = make_run(
        here / "studies" / "runs" / "live", "nano train.steps=100", [3.0, 2.9, 2.8], finished=False
    )
    with open(live / "metrics.jsonl", "a") as file:
        file.write(to_json({"step": 3, "inside": {"stream/blocks.0": 1.0, "stream/blocks.1": 2.0}}) + "\n")
    (live / "step-3.png").write_bytes(png(bytes(range(64)), 8, 8, 1))
    busy(here)
    ledger.record(
        verdict="better", statement="It helps", seeds=3, idea="+x", on="nano", at="equal steps", effect=-0.2,
        interval=(-0.3, -0.1), evidence=[Path("studies/try-x")], file=here / "ledger.yaml",
    )  # fmt: skip
    write_json(here / "law.json", FIT)
    write_json(here / "plan.json", PLAN)
    climbed(here)
    return here


@pytest.fixture(scope="module")
def both(folder: Path) -> Iterator[tuple[Site, Browser]]:
    lock = Lock(folder / "studies" / "runs" / "live" / ".lock", wait=0, named=True)
    with opened(folder) as both:
        yield both
    lock.release()


@pytest.fixture
def site(both: tuple[Site, Browser]) -> Site:
    return both[0]


@pytest.fixture
def browser(both: tuple[Site, Browser]) -> Iterator[Browser]:
    """As a new one: wide, light, with scripts; and at the end nothing to complain of."""
    found = both[1]
    found.width(1200)
    found.scheme("light")
    found.scripts(True)
    found.log()
    yield found
    assert found.log() == []


def pages(folder: Path) -> list[str]:
    studies = folder / "studies"
    live, one, other = (
        id_of(path)
        for path in (studies / "runs" / "live", folder / "runs" / "run-0", folder / "runs" / "run-1")
    )
    return ["/", "/?group=1&where=lr%3E0", "/?where=nonsense", f"/run/{live}?inside=stream&against={one}",
            f"/compare?run={one}&run={other}", "/studies", f"/studies/{id_of(studies / 'try-x')}",
            f"/studies/{id_of(studies / 'sweep')}", "/queue", "/ledger", "/ledger/x-on-nano", "/book",
            f"/studies/{id_of(studies / 'ladder-nano')}", "/laws", f"/laws/{id_of(folder / 'law.json')}",
            f"/laws/{id_of(folder / 'plan.json')}", "/nothing"]  # fmt: skip


def settled(browser: Browser) -> None:
    """Images are there, and curves drawn."""
    browser.until(lambda: browser.js("document.readyState") == "complete", "the page is loaded")
    browser.until(
        lambda: browser.js(
            "[...document.querySelectorAll('figure[data-curve]')].every((f) => f.querySelector('canvas'))"
        ),
        "curves are drawn",
    )


def expected(address: str, log: list[str]) -> list[str]:
    """What the browser itself says of an address that is answered by 400 or 404."""
    return [
        line for line in log if not ("status of 40" in line and address in ("/nothing", "/?where=nonsense"))
    ]


def test_the_printed_address_once(folder: Path) -> None:
    with opened(folder) as (site, browser):
        assert browser.js("location.href") == f"{site.home}/" and browser.driver.title == "Runs · danlu"
        (cookie,) = browser.driver.get_cookies()
        assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == (
            f"danlu-{site.port}",
            True,
            "Strict",
        )
        assert browser.js("document.cookie") == ""
        browser.driver.delete_all_cookies()
        browser.go(f"{site.home}/queue")
        assert "open the address that danlu watch printed" in browser.js("document.body.innerText")
        assert [line for line in browser.log() if "401" not in line] == []


def test_no_errors_and_no_reports_on_any_page(site: Site, browser: Browser) -> None:
    for address in pages(site.folder):
        browser.go(site.home + address)
        settled(browser)
        assert expected(address, browser.log()) == [], address
        assert browser.js("[...document.images].filter((i) => i.loading != 'lazy' && !i.naturalWidth && "
                          "getComputedStyle(i).display != 'none').map((i) => i.src)") == []  # fmt: skip
    assert browser.driver.title != "taken"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(site: Site, browser: Browser, scheme: str) -> None:
    browser.scheme(scheme)
    for address in pages(site.folder):
        browser.go(site.home + address)
        settled(browser)
        assert browser.findings() == [], address
        browser.log()


def test_a_walk_with_the_keyboard(site: Site, browser: Browser) -> None:
    """To the filter, to the list it leaves, to a run, and past the navigation there."""
    browser.go(site.home)
    browser.press(TAB)
    assert browser.focus["text"] == "Skip to the content" and browser.focus["outline"] == "solid"
    browser.press(ENTER)
    browser.until(lambda: browser.focus["tag"] == "MAIN", "the content has the focus")
    browser.press(TAB)
    assert browser.focus["name"] == "where" and browser.focus["outline"] == "solid"
    browser.press("lr<3e-3", ENTER)
    browser.until(
        lambda: "where=lr%3C3e-3" in browser.js("location.search"), "the address says what is asked"
    )
    browser.until(
        lambda: "2 runs" in browser.js("document.querySelector('.count').innerText"), "two runs fit"
    )
    seen: list[str] = []
    for _ in range(60):
        browser.press(TAB)
        assert browser.focus["outline"] == "solid", browser.focus
        seen.append(browser.focus["text"])
        if browser.focus["href"].startswith("/run/"):
            break
    name = seen[-1]
    browser.press(ENTER)
    browser.until(lambda: browser.js("document.querySelector('h1').innerText") == name, "the run is shown")
    settled(browser)


def test_filters_stand_in_the_address(site: Site, browser: Browser) -> None:
    """So they are restored by a link and by the way back."""
    count = "document.querySelector('.count').innerText"
    browser.go(site.home)
    every = browser.js(count)
    browser.driver.find_element("css selector", "input[name=where]").send_keys("state=running", ENTER)
    browser.until(lambda: browser.js(count) == "1 run", "one run fits")
    link = browser.js("location.href")
    fields = browser.driver.find_elements("css selector", "input[name=where]")
    assert [field.get_property("value") for field in fields] == ["state=running", ""]
    browser.driver.back()
    browser.until(lambda: browser.js(count) == every, "back to all")
    browser.go(link)
    assert browser.js(count) == "1 run"
    browser.driver.find_element("css selector", "input[name=where]:not([value])").send_keys("nonsense", ENTER)
    browser.until(lambda: "NAME OPERATOR VALUE" in browser.js("document.body.innerText"), "it is said")
    assert [line for line in browser.log() if "status of 400" not in line] == []


def test_in_the_dark(site: Site, browser: Browser) -> None:
    browser.go(f"{site.home}/run/{id_of(site.folder / 'runs' / 'run-0')}")
    settled(browser)
    ground = "getComputedStyle(document.body).backgroundColor"
    # The middle of the curve's colour, read off the canvas.
    blues = """(() => { const c = document.querySelector('canvas');
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = [0, 0];
        for (let i = 0; i < d.length; i += 4) { if (d[i+3] < 200) continue;
        if (d[i] == 0 && d[i+1] == 114 && d[i+2] == 178) n[0]++;
        if (d[i] == 75 && d[i+1] == 163 && d[i+2] == 227) n[1]++; } return n })()"""
    assert browser.js(ground) == "rgb(255, 255, 255)"
    light, dark = browser.js(blues)
    assert light > 20 and dark == 0
    browser.scheme("dark")
    browser.until(lambda: browser.js(ground) == "rgb(24, 24, 24)", "the page is dark")
    browser.until(lambda: browser.js(blues)[1] > 20, "the curve is drawn anew")
    assert browser.js(blues)[0] == 0
    assert [line for line in browser.log() if "willReadFrequently" not in line] == []  # our looking


def test_on_a_phone(site: Site, browser: Browser) -> None:
    browser.width(390)
    for address in pages(site.folder):
        browser.go(site.home + address)
        settled(browser)
        assert browser.js("document.documentElement.scrollWidth") <= 390, address
        small = browser.js(
            "[...document.querySelectorAll('nav a, button, select')].filter((e) => { "
            "const r = e.getBoundingClientRect(); return r.width && Math.min(r.height, r.width) < 24 })"
            ".map((e) => e.outerHTML)"
        )
        assert small == [], address  # WCAG 2.2, 2.5.8
        browser.log()


def test_without_scripts(site: Site, browser: Browser) -> None:
    """Every drawing is an image, and its numbers stand beside it; a filter is a form."""
    browser.scripts(False)
    browser.go(f"{site.home}/run/{id_of(site.folder / 'runs' / 'run-0')}?metric=loss")
    image = browser.driver.find_element("css selector", "figure.chart img")
    browser.until(lambda: image.get_property("naturalWidth") == 640, "the curve is an image")
    browser.driver.find_element("css selector", "figure summary").click()
    cells = [cell.text for cell in browser.driver.find_elements("css selector", "figure td")]
    assert cells == ["1", "1.5", "2", "1"]
    browser.go(site.home)
    browser.driver.find_element("css selector", "input[name=where]").send_keys("name~run-1", ENTER)
    shown = "//*[@class='count'][normalize-space()='1 run']"
    browser.until(lambda: browser.driver.find_element("xpath", shown), "the form filters")
    browser.go(f"{site.home}/queue")
    browser.driver.find_element("css selector", "button[aria-label='Pause live']").click()
    browser.until(lambda: asked(site.folder)[-1:] == [("live", "pause")], "the form writes")


def test_chinese_is_kept_from_page_to_page(site: Site, browser: Browser) -> None:
    """By the switch, to a run, through a form, and back; as wide as a phone, and axe is content."""
    browser.go(site.home)
    assert browser.js("document.documentElement.lang") == "en" and browser.driver.title == "Runs · danlu"
    browser.driver.find_element("css selector", "a[hreflang='zh-Hans']").click()
    browser.until(lambda: browser.js("location.pathname") == "/zh/", "the address says it")
    assert browser.js("document.documentElement.lang") == "zh-Hans" and browser.driver.title == "运行 · danlu"
    browser.until(lambda: browser.js("document.body.classList.contains('live-on')"), "it is followed")
    browser.driver.find_element("css selector", "input[name=where]").send_keys("name~run-1", ENTER)
    browser.until(lambda: "1 次运行" in browser.js("document.querySelector('.count').innerText"), "one run")
    assert browser.js("location.pathname") == "/zh/"
    browser.driver.find_element("css selector", "tbody a").click()
    browser.until(lambda: browser.js("location.pathname").startswith("/zh/run/"), "a run in Chinese")
    settled(browser)
    assert "状态" in browser.js("document.querySelector('#facts').innerText")
    for scheme, width in (("light", 1200), ("dark", 390)):
        browser.scheme(scheme)
        browser.width(width)
        for address in pages(site.folder)[:-1]:
            browser.go(f"{site.home}/zh{address}")
            settled(browser)
            assert browser.js("document.documentElement.scrollWidth") <= width, address
            assert browser.findings() == [], address
            assert expected(address, browser.log()) == [], address
    browser.driver.find_element("css selector", "a[hreflang='en']").click()
    browser.until(lambda: browser.js("location.pathname").startswith("/en/"), "back in English")


def asked(folder: Path) -> list[tuple[str, str]]:
    path = folder / "studies" / CONTROL
    lines = path.read_text().splitlines() if path.exists() else []
    return [(row["job"], row["want"]) for row in map(json.loads, lines)]


def test_the_queue_is_paused_and_resumed_with_the_keyboard(site: Site, browser: Browser) -> None:
    browser.go(f"{site.home}/queue")
    for button, wish in (("Pause all", ("all", "pause")), ("Resume base-1", ("base-1", "resume"))):
        for _ in range(60):
            browser.press(TAB)
            if button in (browser.focus["label"], browser.focus["text"]):
                break
        browser.press(ENTER)
        browser.until(lambda wish=wish: asked(site.folder)[-1:] == [wish], "it is written")  # type: ignore[misc]
        browser.until(lambda: browser.js("location.pathname") == "/queue", "back on the page")
        browser.until(lambda: browser.js("document.readyState") == "complete", "the page is loaded")
    assert asked(site.folder)[-2:] == [("all", "pause"), ("base-1", "resume")]


def test_a_run_grows_while_one_looks(site: Site, browser: Browser) -> None:
    live = site.folder / "studies" / "runs" / "live"
    browser.go(f"{site.home}/run/{id_of(live)}?metric=loss")
    settled(browser)
    browser.js("window.marked = 1")
    browser.until(lambda: browser.js("document.body.classList.contains('live-on')"), "it is followed")
    with open(live / "metrics.jsonl", "a") as file:
        for step in (50, 60):
            file.write(
                to_json({"step": step, "tokens": 64 * step, "seconds": 9.0, "loss": 0.5, "lr": 1e-3}) + "\n"
            )
    facts = "document.querySelector('#facts').innerText"
    legend = "document.querySelector('canvas') && document.querySelector('figure').dataset.points"
    browser.until(lambda: "60" in browser.js(facts), "the facts follow")
    browser.until(lambda: browser.js(legend) == "5", "the curve grows")
    truncate_after(live / "metrics.jsonl", 3)
    browser.until(lambda: browser.js(legend) == "3", "the run went back")
    assert browser.js("window.marked") == 1


def test_a_list_follows_its_runs(site: Site, browser: Browser) -> None:
    browser.go(f"{site.home}/?sort=name")
    browser.js("window.marked = 1")
    browser.until(lambda: browser.js("document.body.classList.contains('live-on')"), "it is followed")
    live = site.folder / "studies" / "runs" / "live"
    row = f"document.querySelector('#r-{id_of(live)}').innerText"
    assert "3/100" in browser.js(row)
    with open(live / "metrics.jsonl", "a") as file:
        file.write(to_json({"step": 70, "tokens": 64 * 70, "seconds": 9.5, "loss": 0.4}) + "\n")
    browser.until(lambda: "70/100" in browser.js(row), "the row follows")
    truncate_after(live / "metrics.jsonl", 3)
    make_run(site.folder / "runs" / "a-new-one", "nano train.seed=77")
    news = "document.querySelector('#news').innerText"
    browser.until(lambda: "Other runs belong here" in browser.js(news), "a new run is told")
    assert browser.js("window.marked") == 1
    browser.driver.find_element("css selector", "#news a").click()
    browser.until(lambda: "a-new-one" in browser.js("document.body.innerText"), "it is shown")


def test_a_study_follows_its_runs(site: Site, browser: Browser) -> None:
    study = site.folder / "studies" / "try-x"
    browser.go(f"{site.home}/studies/{id_of(study)}")
    browser.until(lambda: browser.js("document.body.classList.contains('live-on')"), "it is followed")
    browser.driver.find_element("css selector", "figure summary").click()
    said = json.loads((study / "result.json").read_text())
    write_json(study / "result.json", [said[0] | {"verdict": "worse"}])
    browser.until(lambda: "worse (early)" in browser.js("document.body.innerText"), "the verdict follows")
    write_json(study / "result.json", said)
    browser.until(lambda: "better (early)" in browser.js("document.body.innerText"), "and follows again")


def test_streams_end_with_their_pages(site: Site, browser: Browser) -> None:
    streams = site.app.state.streams
    for _ in range(5):
        browser.go(f"{site.home}/queue")
        browser.until(lambda: browser.js("document.body.classList.contains('live-on')"), "it is followed")
    browser.go(f"{site.home}/laws")
    browser.until(lambda: streams.open == 0, "nobody follows any more")


ATTACK = """<!doctype html><title>attack</title>
<iframe src="HOME/queue"></iframe><img src="HOME/static/icon.svg">
<script src="HOME/static/watch.js"></script>
<form id="f" method="post" action="HOME/queue/control" target="sink"><input name="job" value="all">
<input name="want" value="stop"><input name="token" value="guess"></form><iframe name="sink"></iframe>
<script>
window.got = [];
const done = [];
const cookies = {credentials: "include"}, quiet = {mode: "no-cors"};
for (const how of [{}, quiet, cookies, {...cookies, ...quiet}])
  for (const path of ["/", "/queue", "/run/000000000000/curve.json", "/events/queue"])
    done.push(fetch("HOME" + path, how).then((r) => r.text())
      .then((t) => window.got.push(t.length), () => {}));
done.push(fetch("HOME/queue/control", {method: "POST", ...cookies, ...quiet,
  headers: {"content-type": "application/x-www-form-urlencoded"},
  body: "job=all&want=stop"}).catch(() => {}));
document.querySelector("#f").submit();
Promise.all(done).then(() => { document.title = "over"; });
</script>"""


def test_a_page_of_another_server_gets_nothing(site: Site, browser: Browser) -> None:
    """Another port is another origin, and yet the same site: cookies know no ports."""

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(ATTACK.replace("HOME", site.home).encode())

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        before = asked(site.folder)
        browser.go(f"http://127.0.0.1:{server.server_address[1]}/")
        browser.until(lambda: browser.driver.title == "over", "the attack is over")
        assert sum(browser.js("window.got")) == 0  # no-cors answers are empty to it
        assert browser.js("document.querySelector('img').naturalWidth") == 0
        assert asked(site.folder) == before
        browser.go(site.home)
        assert browser.driver.title == "Runs · danlu"  # the cookie is still there
        browser.log()
    finally:
        server.shutdown()
        server.server_close()
