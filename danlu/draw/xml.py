"""Text and numbers as they may stand in XML."""

from __future__ import annotations

import base64
import re
from html import escape

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


def cut(label: str, letters: int) -> str:
    """``label``, shortened to so many letters."""
    return label if len(label) <= letters else f"{label[: letters - 1]}…"
