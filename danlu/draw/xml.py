"""Text and numbers as they may stand in XML."""

from __future__ import annotations

import base64
import re
from html import escape
from unicodedata import east_asian_width

# What XML 1.0 cannot hold, not even escaped: control characters, half pairs (from names of files), U+FFFE/F.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def legal(value: object) -> str:
    """``value`` as text that XML can hold, once it is escaped."""
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", str(value))


def text(value: object) -> str:
    """``value`` as text that is safe in XML and HTML, in elements and in quoted attributes."""
    return escape(legal(value))


def uri(kind: str, data: bytes) -> str:
    """The data themselves as an address, so that nothing is loaded."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def px(length: float) -> str:
    """A coordinate: a tenth of a pixel is enough."""
    return f"{length:.1f}".removesuffix(".0")


def letters(label: str) -> int:
    """How many Latin letters are as wide: a Chinese one counts as two."""
    return len(label) + sum(east_asian_width(letter) in "WF" for letter in label)


def cut(label: str, room: int) -> str:
    """``label``, shortened to the width of so many Latin letters."""
    if letters(label) <= room:
        return label
    while letters(label) > room - 1:
        label = label[:-1]
    return f"{label}…"
