"""The documentation site, in build/site/html: ``make docs``.

Any warning of Sphinx ends it: a link that leads nowhere, an anchor that is no heading, a page in no list, a
name that is not there. So does anything that a page would load from another server.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import sources  # noqa: E402

OUTSIDE = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=[\"'](?:https?:)?//[^\"']+|url\([\"']?(?:https?:)?//[^)]+"
)


def build(to: Path) -> int:
    """The site, in ``to / "html"``. Returns Sphinx's exit code, or 1 where a page would load from outside."""
    from sphinx.cmd.build import main

    files = sources.lay_out(to / "source")
    html = to / "html"
    shutil.rmtree(html, ignore_errors=True)
    words = ["-b", "html", "-c", HERE, "-d", to / "doctrees", "-W", "--keep-going", "-q", to / "source", html]
    if code := main([str(word) for word in words]):
        return code
    finish(html, files)
    if found := outside(html):
        print("\n".join(["A page loads from another server:", *found]), file=sys.stderr)
        return 1
    return 0


def finish(html: Path, files: list[str]) -> None:
    """Beside the pages: the files that they link to and their own sources, where links of llms.txt find them;
    the list of each folder of schemas; llms.txt at the root."""
    for path in files:
        (html / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sources.ROOT / path, html / path)
    shutil.copyfile(html / "README.html", html / "index.html")
    text = (sources.ROOT / sources.LIST).read_text(encoding="utf-8")
    (html / "llms.txt").write_text(sources.served(text, "docs"), encoding="utf-8")
    for folder in {(html / path).parent for path in files if path.endswith(".json")}:
        items = "".join(
            f'<li><a href="{one.name}">{one.name}</a></li>' for one in sorted(folder.glob("*.json"))
        )
        head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{folder.name}</title>'
        (folder / "index.html").write_text(f"{head}<ul>{items}</ul></html>", encoding="utf-8")


def outside(html: Path) -> list[str]:
    """What pages and styles would load from other servers: ``file: tag``."""
    return [
        f"{path.relative_to(html)}: {match[0][:120]}"
        for path in sorted(html.rglob("*"))
        if path.suffix in {".html", ".css"}
        for match in OUTSIDE.finditer(path.read_text(encoding="utf-8"))
    ]


if __name__ == "__main__":
    sys.exit(build(sources.ROOT / "build" / "site"))
