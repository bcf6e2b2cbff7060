"""What is asked of all that is said in Chinese: the numbers of the English, and no English sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import unescape

NUMBER = re.compile(r"(?<![\w.])[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])")
# commands, options, code, files, fields
COMMAND = re.compile(r"(?:danlu|python) [a-z].*|--[a-z][!-~]*(?: [!-~]+)?|`[^`]*`|[!-~]*[./_=][!-~]*")
WORDS = re.compile(r"\b[a-z]{2,}(?:[ -][a-z]+)+\b|^[a-z]{3,}$")


def numbers(text: str) -> list[str]:
    """In their order of size, as texts: Chinese may name them in another order."""
    return sorted(NUMBER.findall(text))


def left(said: Iterable[str], names: Iterable[str] = ()) -> list[str]:
    """English that is left in what is said in Chinese: two words in a row, or a word alone; but for commands,
    code, files, fields and ``names``."""
    found = []
    for text in said:
        for name in sorted(names, key=len, reverse=True):
            text = text.replace(name, "")
        found += WORDS.findall(COMMAND.sub("", text).strip())
    return found


def texts(page: str) -> list[str]:
    """What a page or a drawing says: titles, headings, paragraphs, cells, labels, tips."""
    page = re.sub(r"<style>.*?</style>|<script.*?</script>", "", page, flags=re.DOTALL)
    found = [text for text in re.split(r"<[^>]*>", page) if text.strip()]
    return [unescape(text) for text in (*found, *re.findall(r'aria-label="([^"]*)"', page))]
