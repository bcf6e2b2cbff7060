"""A real browser over a real server: Debian's chromium and its driver, by selenium. Nothing is downloaded."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from danlu.watch.app import make
from danlu.watch.guard import Keys
from danlu.watch.serve import listen
from tests.conftest import LIMIT

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
WHY = "needs chromium and its driver (apt-get install chromium chromium-driver) and selenium"
THERE = bool(CHROMIUM and DRIVER and find_spec("selenium"))
AXE = Path(__file__).parent / "vendor" / "axe.min.js"

ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,900",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
)  # fmt: skip
# What the policy refused, from the first moment of every page on.
REPORTS = """
window.refused = [];
document.addEventListener("securitypolicyviolation",
  (e) => window.refused.push(`${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`));
"""


class Site:
    """A server in a thread, over ``folder``."""

    def __init__(self, folder: Path) -> None:
        import uvicorn

        self.folder, self.keys = folder, Keys()
        self._socket = listen("127.0.0.1", 0)
        self.port = self._socket.getsockname()[1]
        self.app = make(folder, keys=self.keys, port=self.port)
        config = uvicorn.Config(self.app, http="h11", ws="none", lifespan="off", log_level="error",
                                timeout_graceful_shutdown=1)  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()

    @property
    def home(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def printed(self) -> str:
        return f"{self.home}/?token={self.keys.token}"

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(LIMIT)
        self._socket.close()


class Browser:
    """A new profile. What is waited for is a condition, never a time."""

    def __init__(self) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for argument in ARGUMENTS:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
        self.driver.set_page_load_timeout(120)
        self.command("Page.addScriptToEvaluateOnNewDocument", source=REPORTS)

    def command(self, name: str, **arguments: Any) -> Any:
        """One of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, arguments)

    def go(self, address: str) -> None:
        self.driver.get(address)

    def js(self, expression: str, *arguments: Any) -> Any:
        return self.driver.execute_script(f"return {expression}", *arguments)

    def until(self, happened: Callable[[], Any], what: str) -> Any:
        from selenium.common.exceptions import TimeoutException, WebDriverException
        from selenium.webdriver.support.ui import WebDriverWait

        try:
            return WebDriverWait(self.driver, 60, 0.05, (WebDriverException,)).until(lambda _: happened())
        except TimeoutException:
            raise AssertionError(f"{what}: it did not come to that\n{self.log()}") from None

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        chain = ActionChains(self.driver)
        for key in keys:
            chain.send_keys(key)
        chain.perform()

    @property
    def focus(self) -> dict[str, str]:
        """What has the focus."""
        found: dict[str, str] = self.js(
            "(() => { const e = document.activeElement, s = getComputedStyle(e); return {tag: e.tagName, "
            "text: e.textContent.trim(), name: e.name || '', href: e.getAttribute('href') || '', "
            "outline: s.outlineStyle, label: e.getAttribute('aria-label') || ''} })()"
        )
        return found

    def width(self, pixels: int) -> None:
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=pixels,
            height=844,
            deviceScaleFactor=1,
            mobile=pixels < 600,
        )

    def scheme(self, name: str) -> None:
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def scripts(self, on: bool) -> None:
        self.command("Emulation.setScriptExecutionDisabled", value=not on)

    def log(self) -> list[str]:
        """What the console was told since the last call, and what the policy refused on this page."""
        try:
            refused = self.js("window.refused || []")
        except Exception:
            refused = []
        return [entry["message"] for entry in self.driver.get_log("browser")] + refused

    def findings(self) -> list[str]:
        """What axe finds serious or critical on this page."""
        # By the protocol, past the page's policy, which would refuse a script of another origin.
        self.command("Runtime.evaluate", expression=AXE.read_text(encoding="utf-8"))
        answer = self.command(
            "Runtime.evaluate",
            expression="axe.run(document, {resultTypes: ['violations']}).then((r) => JSON.stringify("
            "r.violations.map((v) => [v.impact, v.id, v.nodes.map((n) => n.html.slice(0, 200))])))",
            awaitPromise=True,
            returnByValue=True,
        )
        rows = json.loads(answer["result"]["value"])
        return [f"{name}: {nodes}" for impact, name, nodes in rows if impact in ("serious", "critical")]

    def close(self) -> None:
        self.driver.quit()


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Site, Browser]]:
    """A site and a browser that has opened its printed address."""
    site = Site(folder)
    try:
        browser = Browser()
        try:
            browser.go(site.printed)
            yield site, browser
        finally:
            browser.close()
    finally:
        site.close()
