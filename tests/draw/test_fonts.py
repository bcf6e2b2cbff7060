"""Chinese letters in a PDF: by a font of this machine, or the figure is in English, which is said."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from danlu.draw import Chart, fonts, page
from danlu.draw.figure import IN_ENGLISH
from danlu.draw.phrases import chinese
from danlu.draw.truetype import Font, _written

LETTERS = "学习率更新次数步"


def collection(letters: str = LETTERS, allowed: int = 0, outlines: str = "glyf") -> bytes:
    """A collection (.ttc) of one font: danlu's own, whose Latin letters stand for ``letters``."""
    own = fonts.font()
    codes = sorted(map(ord, letters))
    parts = len(codes) + 1
    ends, starts, zeros = [*codes, 0xFFFF], [*codes, 0xFFFF], [0] * parts
    shifts = [(own.glyph(chr(ord("a") + i)) - code) % 65536 for i, code in enumerate(codes)] + [1]
    body = struct.pack(f">{4 * parts + 1}H", *ends, 0, *starts, *shifts, *zeros)
    cmap = struct.pack(">HHHHI", 0, 1, 3, 1, 12)
    cmap += struct.pack(">HHHHHHH", 4, 14 + len(body), 0, 2 * parts, 0, 0, 0) + body
    tables = own._tables | {"cmap": cmap, "OS/2": struct.pack(">HhHHH", 4, 0, 400, 5, allowed)}
    tables[outlines] = tables.pop("glyf")
    data = bytearray(_written(tables))
    for i in range(len(tables)):
        (at,) = struct.unpack_from(">I", data, 12 + 16 * i + 8)
        struct.pack_into(">I", data, 12 + 16 * i + 8, at + 16)
    return struct.pack(">4sHHII", b"ttcf", 1, 0, 1, 16) + bytes(data)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only place with fonts."""
    monkeypatch.setattr(fonts, "FOLDERS", (str(tmp_path),))
    fonts.further.cache_clear()
    yield tmp_path
    fonts.further.cache_clear()


def drawn() -> Chart:
    return Chart("updates", "learning rate").dots([1], [1])


def test_a_font_of_the_machine_shows_them(folder: Path) -> None:
    pypdf = pytest.importorskip("pypdf")
    (folder / "deep").mkdir()
    (folder / "deep" / "wqy-microhei.ttc").write_bytes(collection())
    chart = drawn().reworded(chinese)
    data = chart.pdf()
    said = pypdf.PdfReader(io.BytesIO(data)).pages[0].extract_text()
    assert "更新次数" in said and "学习率" in said and "1" in said
    assert data.count(b"/FontFile2") == 2 and data.count(b"/Subtype /Type0") == 2
    assert IN_ENGLISH not in page("x", [("", [drawn()])], "en")
    assert chinese(IN_ENGLISH) not in page("x", [("", [drawn()])], "zh")


def test_without_one_the_pdf_is_in_english_and_the_page_says_so(folder: Path) -> None:
    assert drawn().reworded(chinese).pdf() == drawn().pdf()
    assert "更新次数" in drawn().reworded(chinese).paper() and "PingFang SC" in drawn().paper()
    assert chinese(IN_ENGLISH) in page("x", [("", [drawn()])], "zh")
    assert IN_ENGLISH not in page("x", [("", [drawn()])], "en")


def test_a_font_that_may_not_be_embedded_or_has_other_outlines_is_none(folder: Path) -> None:
    for wrong, why in (
        (collection(allowed=2), "may not be"),
        (collection(outlines="CFF "), "glyf"),
        (b"", "font"),
    ):
        with pytest.raises(ValueError, match=why):
            Font(wrong, "wrong")
        (folder / "simhei.ttf").write_bytes(wrong)
        fonts.further.cache_clear()
        assert fonts.further() is None
    (folder / "simsun.ttc").write_bytes(collection())  # the next on the list that can be read
    fonts.further.cache_clear()
    assert (found := fonts.further()) is not None and found.name == "simsun"
    assert (
        fonts.font_of("学") is found
        and fonts.font_of("a") is fonts.font()
        and fonts.font_of("中") is fonts.font()
    )
