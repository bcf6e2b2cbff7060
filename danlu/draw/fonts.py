"""The fonts of paper figures: one that danlu brings, and for what it lacks one of this machine.

No font with Chinese letters is brought: the smallest is larger than danlu. In SVG they are named, and whoever
shows it has one; PDF needs the outlines. Most fonts of Linux with Chinese letters (Noto Sans CJK, Source Han
Sans) have outlines of another kind (CFF), which are not read here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from danlu.draw.truetype import Font

NAME, POSTSCRIPT = "DejaVu Sans Condensed", "DejaVuSansCondensed"
CHINESE = "PingFang SC, Microsoft YaHei, Noto Sans CJK SC, Source Han Sans SC, WenQuanYi Micro Hei"
FILES = (  # TrueType with Chinese letters, those without serifs first
    "wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf", "DroidSansFallback.ttf",  # Linux
    "msyh.ttc", "Deng.ttf", "simhei.ttf", "simsun.ttc",  # Windows
    "Arial Unicode.ttf", "STHeiti Light.ttc", "Songti.ttc",  # macOS
    "uming.ttc", "ukai.ttc",
)  # fmt: skip
FOLDERS = (
    "~/.local/share/fonts", "~/.fonts", "~/Library/Fonts", "/usr/local/share/fonts", "/usr/share/fonts",
    "/Library/Fonts", "/System/Library/Fonts", "C:/Windows/Fonts",
)  # fmt: skip


@cache
def font() -> Font:
    """The one that danlu brings, read once."""
    return Font((files("danlu.draw") / "fonts" / f"{POSTSCRIPT}.ttf").read_bytes(), POSTSCRIPT)


@cache
def further() -> Font | None:
    """The first of ``FILES`` on this machine that can be read and embedded."""
    for path in _found([Path(folder).expanduser() for folder in FOLDERS]):
        try:
            return Font(path.read_bytes(), "".join(filter(str.isalnum, path.stem)))
        except (OSError, ValueError):
            continue
    return None


def _found(folders: Sequence[Path]) -> Iterator[Path]:
    there: dict[str, Path] = {}
    for folder in folders:
        for above, _, names in os.walk(folder):
            for name in {*names} & {*FILES}:
                there.setdefault(name, Path(above) / name)
    return (there[name] for name in FILES if name in there)


def font_of(letter: str) -> Font:
    """The font that shows a letter; danlu's own, an empty box, where none does."""
    if font().glyph(letter):
        return font()
    other = further()
    return other if other is not None and other.glyph(letter) else font()


def measure(text: str, size: float) -> float:
    """The width of a line of text in letters of ``size``."""
    return sum(one.width(one.glyph(letter)) for letter in text for one in [font_of(letter)]) * size / 1000
