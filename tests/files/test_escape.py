"""What a terminal would obey is shown instead."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.files.escape import escape


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ä, 丹炉, 👩\u200d🔬, a\tb\n", "plain, ä, 丹炉, 👩\u200d🔬, a\tb\n"),
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("ab\x08\x08cd\re\x0e", "ab\\x08\\x08cd\\x0de\\x0e"),
        ("\x7f\x9b", "\\x7f\\x9b"),
        ("\u202egpj.exe\u2069", "\\u202egpj.exe\\u2069"),
        ("a\udcffb", "a\\udcffb"),
        ("\u2028\ufeff\U000e0041", "\\u2028\\ufeff\\U000e0041"),
    ],
)
def test_examples(text: str, shown: str) -> None:
    assert escape(text) == shown
    assert escape("x\ty\nz", cell=True) == "x\\ty\\nz"


@given(st.text(st.characters()))
def test_no_control_character_is_left(text: str) -> None:
    for shown in (escape(text), escape(text, cell=True)):
        left = {c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")}
        assert left <= {"\t", "\n"}
        assert not {c for c in shown if unicodedata.bidirectional(c) in {
            "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"
        }}  # fmt: skip
    assert not {"\t", "\n"} & set(escape(text, cell=True))
