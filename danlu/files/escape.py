"""Text that danlu did not write, made safe for a terminal."""

from __future__ import annotations

import re

# Control characters (ESC, BS, SO, DEL, C1), marks that turn the direction of writing, separators of lines,
# invisible tags, and half surrogate pairs, which stand for bytes of a name that is not UTF-8.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_OF_A_CELL = re.compile(f"{_UNSAFE.pattern[:-1]}\t\n]")


def escape(text: str, *, cell: bool = False) -> str:
    r"""``text`` with what a terminal would obey written as ``\x1b``, ``\u202e``: nothing is moved, hidden or
    recoloured by it. Line ends and tabs stay, but not in a ``cell``."""
    return (_OF_A_CELL if cell else _UNSAFE).sub(_written, text)


def escape_json(text: str) -> str:
    r"""A JSON document, in which nothing but ``\u202e`` may stand for such a character: it stays the same
    document."""
    return _UNSAFE.sub(_as_json, text)


def _as_json(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def _written(match: re.Match[str]) -> str:
    character = match[0]
    if character in "\t\n":
        return {"\t": r"\t", "\n": r"\n"}[character]
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
