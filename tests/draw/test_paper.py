"""Figures for papers: light, plain SVG and PDF with one named font, letters large enough, nothing lost."""

from __future__ import annotations

import io
import re
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.dom import minidom

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.draw import Chart
from danlu.draw.chart import APART, _apart
from danlu.draw.figure import Figure
from danlu.draw.fonts import font
from danlu.draw.graph import Graph
from danlu.draw.paper import COLUMN, FAINT, POINT
from danlu.draw.pdf import pdf
from danlu.draw.scatter import Scatter
from danlu.files.errors import FileError
from tests.draw.test_chart import everything, luminance

NODE = {"number": 0, "name": "a", "kind": "Linear", "shape": [2, 3], "dtype": "float32", "twice": False,
        "times": 2, "sources": [-1], "inside": []}  # fmt: skip


def figures() -> list[Figure]:
    made: list[Figure] = [*everything("loss"), Graph(NODE, {0: "12 FLOP"}, "graph")]
    made.append(Scatter(title="points").panel("data", [(0, [(0.0, 1.0), (1.0, 0.0)])]).panel("b", [(1, [])]))
    return made


each = pytest.mark.parametrize("figure", figures(), ids=lambda figure: f"{type(figure).__name__}")


@each
@pytest.mark.parametrize("width", [COLUMN, 139.7])
def test_its_svg_is_plain(figure: Figure, width: float) -> None:
    """No style sheet, no class, no colour that depends on the surroundings: each is an attribute, stands out
    from white by 3:1 or is the grid's or a cell's, and letters have 7 points at least."""
    root = minidom.parseString(figure.paper(width)).documentElement
    assert root is not None and root.getAttribute("font-family").startswith("DejaVu Sans Condensed")
    across = float(root.getAttribute("width").removesuffix("mm"))
    pixel = across / POINT / float(root.getAttribute("viewBox").split()[2])  # in points
    if not isinstance(figure, Graph | Scatter):
        assert across == pytest.approx(width, abs=0.01)
    for element in [root, *root.getElementsByTagName("*")]:
        assert element.tagName not in ("style", "title", "script") and not element.hasAttribute("class")
        if size := element.getAttribute("font-size"):
            assert float(size) * pixel >= 7 - 1e-3
        for name in ("fill", "stroke"):
            colour = element.getAttribute(name)
            assert re.fullmatch(r"|none|#[0-9a-f]{6}", colour), colour
            if colour[:1] == "#" and colour != FAINT and element.tagName != "rect":
                assert 1.05 / (luminance(colour) + 0.05) >= 3


def letters(figure: Figure) -> list[str]:
    """The words of a figure, sorted."""
    root = minidom.parseString(figure.paper())
    return sorted(node.firstChild.data for node in root.getElementsByTagName("text") if node.firstChild)


@each
def test_its_pdf_has_the_font_and_the_words(figure: Figure) -> None:
    pypdf = pytest.importorskip("pypdf")
    data = figure.pdf()
    assert data == figure.pdf()  # equal drawings are equal files
    (page,) = pypdf.PdfReader(io.BytesIO(data)).pages
    (face,) = [one.get_object() for one in page["/Resources"]["/Font"].values()]
    inner = face["/DescendantFonts"][0].get_object()
    assert (face["/Subtype"], inner["/Subtype"]) == ("/Type0", "/CIDFontType2")  # TrueType, no Type 3
    assert "DejaVuSansCondensed" in face["/BaseFont"] and "/FontFile2" in inner["/FontDescriptor"]
    root = minidom.parseString(figure.paper()).documentElement
    assert root is not None
    sides = [float(root.getAttribute(side).removesuffix("mm")) / POINT for side in ("width", "height")]
    assert [float(page.mediabox.width), float(page.mediabox.height)] == pytest.approx(sides, abs=0.01)
    found = page.extract_text()
    for word in letters(figure):
        assert word in found, word


def operators(data: bytes) -> list[tuple[list[Any], str]]:
    pypdf = pytest.importorskip("pypdf")
    page = pypdf.PdfReader(io.BytesIO(data)).pages[0]
    return [([*operands], name.decode()) for operands, name in page.get_contents().operations]


def test_a_line_of_the_pdf_is_that_of_the_svg() -> None:
    chart = Chart("x", "y").line([0, 1, 2], [5, 7, 6], "a").dots([1], [6], "b").bars([2], at=[2])
    drawn = chart.paper()
    (places,) = re.findall(r'points="([^"]+)"', drawn)
    expected = [[float(v) for v in place.split(",")] for place in places.split()]
    done = operators(pdf(drawn))
    moves = [i for i, (operands, name) in enumerate(done) if name == "m" and operands == expected[0]]
    line = [operands for operands, _ in done[moves[0] : moves[0] + 3]]
    assert line == expected and [name for _, name in done[moves[0] : moves[0] + 3]] == ["m", "l", "l"]
    scale, _, _, down, _, height = map(float, done[0][0])
    assert scale == pytest.approx(-down) and height == pytest.approx(
        float(operators_height(pdf(drawn))), abs=1e-2
    )
    (bar,) = [operands for operands, name in done if name == "re"]
    (rect,) = [node for node in minidom.parseString(drawn).getElementsByTagName("rect")]
    assert bar == [float(rect.getAttribute(name)) for name in ("x", "y", "width", "height")]


def operators_height(data: bytes) -> float:
    found = re.search(rb"/MediaBox \[0 0 [\d.]+ ([\d.]+)\]", data)
    assert found is not None
    return float(found[1])


@settings(max_examples=25, deadline=None)
@given(st.text(alphabet=st.characters(), max_size=40))
def test_any_label_makes_a_pdf(label: str) -> None:
    """Also letters that the font has not: they are empty boxes."""
    for chart in everything(label):
        data = chart.pdf()
        assert data.startswith(b"%PDF-1.4") and data.endswith(b"%%EOF\n")
        table = int(data[data.rindex(b"startxref\n") + 10 :].split()[0])
        places = [int(line.split()[0]) for line in data[table:].split(b"\n")[3:13]]
        assert all(data[place:].startswith(b"%d 0 obj" % i) for i, place in enumerate(places, start=1))


def test_more_letters_than_a_block_of_the_table_may_have() -> None:
    pypdf = pytest.importorskip("pypdf")
    label = "".join(chr(code) for code in range(0x100, 0x17F))
    data = Chart(label).dots([1], [1]).pdf()
    streams = map(zlib.decompress, re.findall(rb">>\nstream\n(.*?)\nendstream", data, flags=re.DOTALL))
    (stream,) = (stream for stream in streams if b"bfchar" in stream)
    assert max(map(int, re.findall(rb"(\d+) beginbfchar", stream))) <= 100
    assert label in pypdf.PdfReader(io.BytesIO(data)).pages[0].extract_text()


def test_the_font_is_read_as_others_read_it() -> None:
    """Glyphs, widths; and a subset keeps the outlines that it was asked for, also of compound letters."""
    ttlib = pytest.importorskip("fontTools.ttLib")
    from importlib.resources import files

    path = files("danlu.draw") / "fonts" / "DejaVuSansCondensed.ttf"
    known = ttlib.TTFont(io.BytesIO(path.read_bytes()))
    names, metrics = known.getBestCmap(), known["hmtx"]
    assert len(names) > 500
    for code, name in names.items():
        glyph = font().glyph(chr(code))
        assert glyph == known.getGlyphID(name)
        assert font().width(glyph) == round(1000 * metrics[name][0] / known["head"].unitsPerEm)
    kept = {font().glyph(letter) for letter in "aé−μ"}
    small = ttlib.TTFont(io.BytesIO(font().subset(kept)))
    assert small["maxp"].numGlyphs == known["maxp"].numGlyphs
    for name in known.getGlyphOrder():
        number = known.getGlyphID(name)
        before, after = known["glyf"][name], small["glyf"][small.getGlyphName(number)]
        if number in kept:
            assert before.getCoordinates(known["glyf"])[0] == after.getCoordinates(small["glyf"])[0]
    assert len(font().subset(kept)) < len(path.read_bytes()) / 3


@given(st.lists(st.floats(0, 300), max_size=8).map(sorted))
def test_names_at_ends_do_not_touch(heights: list[float]) -> None:
    found = _apart(heights, 0, 300)
    assert all(below - above >= APART - 1e-6 for above, below in pairwise(found))
    assert all(-1e-6 <= height <= 300 + 1e-6 for height in found)
    if all(below - above >= APART for above, below in pairwise(heights)):
        assert found == pytest.approx(heights)


@pytest.mark.parametrize(("lines", "direct"), [(1, True), (6, True), (7, False)])
def test_few_lines_have_their_names_at_their_ends(lines: int, direct: bool) -> None:
    chart = Chart()
    for k in range(lines):
        chart.line([0, 1, 2], [0, k, k], f"line {k}")
    words = {node.firstChild.data: float(node.getAttribute("x") or 0)
             for node in minidom.parseString(chart.svg()).getElementsByTagName("text")}  # fmt: skip
    ends = [max(float(place.split(",")[0]) for place in points.split())
            for points in re.findall(r'points="([^"]+)"', chart.svg())]  # fmt: skip
    assert len(ends) == lines
    assert all((words[f"line {k}"] > max(ends)) == direct for k in range(lines))


def test_the_caption_names_every_band() -> None:
    chart = Chart(caption="Means.").line([1, 2], [1, 2], "a")
    assert chart.caption == "Means."
    for label in "ab":
        chart.band([1, 2], [0, 1], [2, 3], label, means="95 % intervals of the means")
    assert chart.caption == "Means. Bands: 95 % intervals of the means."
    assert (
        "95 % intervals" in chart.paper()
        and "95 % intervals".encode("utf-16-be").hex().encode() in chart.pdf()
    )


def test_saving(tmp_path: Path) -> None:
    chart = Chart("x").dots([1], [2])
    for ending in ("svg", "pdf"):
        path = tmp_path / f"a.{ending}"
        chart.save(path)
        first = path.read_bytes()
        chart.save(path, width_mm=100)  # danlu's own may be written over
        assert path.read_bytes() != first
        path.write_text("mine")
        with pytest.raises(FileError, match="bears no mark of danlu"):
            chart.save(path)
        assert path.read_text() == "mine"
    with pytest.raises(FileError, match=r"ends in \.svg or \.pdf"):
        chart.save(tmp_path / "a.png")


@each
def test_a_notebook_shows_it(figure: Figure) -> None:
    shown = figure._repr_mimebundle_()
    assert set(shown) == {"image/svg+xml", "text/html", "text/plain"}
    assert "<style" not in shown["text/html"]  # which would be one for the whole page
    minidom.parseString(shown["image/svg+xml"])


def test_what_a_figure_shows_is_escaped_once() -> None:
    """As another reader of XML says it."""
    chart = Chart("x", "y", caption="each side's runs, a < b & c\x00").line([1, 2], [1, 2])
    label = minidom.parseString(chart.paper()).documentElement.getAttribute("aria-label")
    assert label == "each side's runs, a < b & c\N{REPLACEMENT CHARACTER}"
