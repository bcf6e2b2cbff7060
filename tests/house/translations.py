"""Chinese pages and the English ones that they were made from.

python -m tests.house.translations              # which are behind their source
python -m tests.house.translations PAGE...      # these are mended: mark them with their source as it is now
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

from tests.conftest import ROOT

PAGES = [ROOT / "README.zh-CN.md", *sorted((ROOT / "docs" / "zh").glob("*.md"))]
MARK = re.compile(r"^<!-- from (\S+), sha256 ([0-9a-f]{12}) -->$", flags=re.MULTILINE)
FENCED = re.compile(r"^```[^\n]*\n.*?^```$", flags=re.MULTILINE | re.DOTALL)


def source(page: Path) -> Path:
    """The English page that ``page`` says it was made from."""
    marks = MARK.findall(page.read_text(encoding="utf-8"))
    if len(marks) != 1:
        raise ValueError(f"{page.relative_to(ROOT)} needs one line <!-- from PAGE, sha256 TWELVE-HEX -->")
    return ROOT / marks[0][0]


def digest(page: Path) -> str:
    """The first twelve hexadecimal digits of the SHA-256 of its bytes."""
    return hashlib.sha256(page.read_bytes()).hexdigest()[:12]


def is_behind(page: Path) -> bool:
    """Whether the English page changed since ``page`` was made from it."""
    return MARK.findall(page.read_text(encoding="utf-8"))[0][1] != digest(source(page))


def mark(page: Path) -> None:
    """Say in ``page`` that it was made from its source as it is now."""
    english = source(page)
    now = f"<!-- from {english.relative_to(ROOT)}, sha256 {digest(english)} -->"
    page.write_text(MARK.sub(now, page.read_text(encoding="utf-8")), encoding="utf-8")


def blocks(page: Path) -> list[str]:
    """Its fenced code, fences included."""
    return FENCED.findall(page.read_text(encoding="utf-8"))


def spans(page: Path) -> set[str]:
    """Its code in running text, where lines may break."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    return {" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)}


def shape(page: Path) -> list[str]:
    """The beginnings of its headings, list items and rows of tables, in order."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    return re.findall(r"^(#+ |- |\d+\. |\|)", text, flags=re.MULTILINE)


def main() -> None:
    for name in sys.argv[1:]:
        mark(Path(name).resolve())
    for page in PAGES:
        if is_behind(page):
            print(f"{page.relative_to(ROOT)} is behind {source(page).relative_to(ROOT)}")


if __name__ == "__main__":
    main()
