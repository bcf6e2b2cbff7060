"""A drawing for paper as PDF (ISO 32000-1): vectors, embedded TrueType fonts, no date, so that equal
drawings are equal files. What it reads is the part of SVG that ``danlu.draw`` writes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from danlu.draw.fonts import font_of, measure
from danlu.draw.paper import POINT, SVG
from danlu.draw.truetype import Font
from danlu.files.overwrite import MARK

INHERITED = {
    "fill": "#000000", "stroke": "none", "stroke-width": "1", "stroke-dasharray": "", "fill-opacity": "1",
    "stroke-opacity": "1", "stroke-linecap": "butt", "stroke-linejoin": "miter", "font-size": "12",
    "text-anchor": "start",
}  # fmt: skip
CAPS, JOINS = ("butt", "round", "square"), ("miter", "round", "bevel")
FIRST, EACH = 5, 5  # the number of the first object of the first font, and objects of each
CIRCLE = 0.5523  # how far the handles of a quarter of a circle reach, of its radius
_NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_STEP = re.compile(rf"([A-Za-z])|({_NUMBER})")
_MOVE = re.compile(rf"(translate|rotate)\(({_NUMBER})(?:[ ,]+({_NUMBER}))?\)")


def pdf(svg: str) -> bytes:
    """One page as large as ``svg``, which ``danlu.draw.paper`` made. Raises ``ValueError`` for what no
    drawing of ours holds."""
    root = ET.fromstring(svg)
    width, height = (float(root.get(side, "").removesuffix("mm")) / POINT for side in ("width", "height"))
    scale = width / float(root.get("viewBox", "").split()[2])
    page = _Page()
    page.draw(root, INHERITED)
    content = f"{scale:.6f} 0 0 {-scale:.6f} 0 {height:.3f} cm\n{''.join(page.parts)}"
    fonts = [(one, sorted(letters)) for one, letters in page.letters.items()]
    named = " ".join(f"/F{i} {FIRST + EACH * i} 0 R" for i in range(len(fonts)))
    states = " ".join(f"/G{i} << /ca {fill} /CA {line} >>" for i, (fill, line) in enumerate(page.opacities))
    objects: list[str | bytes] = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width:.3f} {height:.3f}] /Contents 4 0 R /Resources "
        f"<< /Font << {named} >> /ExtGState << {states} >> >> >>",
        _stream(content.encode()),
        *(part for i, (one, some) in enumerate(fonts) for part in _embedded(one, some, FIRST + EACH * i)),
        f"<< /Title {_text(root.get('aria-label', ''))} /Creator (danlu) >>",
    ]  # fmt: skip
    return _file(objects)


def _embedded(font: Font, letters: list[str], first: int) -> list[str | bytes]:
    """The ``EACH`` objects of a font, numbered from ``first``, that hold these letters."""
    glyphs = {font.glyph(letter): letter for letter in letters}
    widths = " ".join(f"{glyph} [{font.width(glyph)}]" for glyph in sorted(glyphs))
    box, name = " ".join(map(str, font.box)), f"/DANLUA+{font.name}"
    return [
        f"<< /Type /Font /Subtype /Type0 /BaseFont {name} /Encoding /Identity-H "
        f"/DescendantFonts [{first + 1} 0 R] /ToUnicode {first + 4} 0 R >>",
        f"<< /Type /Font /Subtype /CIDFontType2 /BaseFont {name} /CIDToGIDMap /Identity "
        f"/CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> /W [{widths}] "
        f"/FontDescriptor {first + 2} 0 R >>",
        f"<< /Type /FontDescriptor /FontName {name} /Flags 4 /FontBBox [{box}] /ItalicAngle 0 "
        f"/Ascent {font.ascent} /Descent {font.descent} /CapHeight 729 /StemV 80 "
        f"/FontFile2 {first + 3} 0 R >>",
        _stream(font.subset(glyphs), whole=True),
        _stream(_UNICODE.replace("SHOWN", "".join(_shown(list(glyphs.items())))).encode()),
    ]


def shown(svg: str) -> bool:
    """Whether the fonts that there are have all letters of a drawing."""
    return all(font_of(letter).glyph(letter) for letter in set("".join(ET.fromstring(svg).itertext())))


_UNICODE = """/CIDInit /ProcSet findresource begin 12 dict begin begincmap
/CMapName /danlu def /CMapType 2 def
1 begincodespacerange <0000> <ffff> endcodespacerange
SHOWNendcmap end end"""


def _shown(glyphs: list[tuple[int, str]]) -> Iterator[str]:
    """Which letters the glyphs show, a hundred at once, as the format asks, so that text can be found."""
    for i in range(0, len(glyphs), 100):
        some = glyphs[i : i + 100]
        lines = (f"<{glyph:04x}> <{letter.encode('utf-16-be').hex()}>" for glyph, letter in some)
        yield "\n".join([f"{len(some)} beginbfchar", *lines, "endbfchar\n"])


@dataclass
class _Page:
    """``parts``: what is drawn, as operators; ``letters`` that are shown, by font; pairs of ``opacities``."""

    parts: list[str] = field(default_factory=list)
    letters: dict[Font, set[str]] = field(default_factory=dict)
    opacities: list[tuple[float, float]] = field(default_factory=list)

    def draw(self, element: ET.Element, above: Mapping[str, str]) -> None:
        """An element and what is in it, with what it inherits."""
        here = {name: element.get(name, value) for name, value in above.items()}
        kind = element.tag.removeprefix(f"{{{SVG}}}")
        moves = "".join(_moved(*match.groups()) for match in _MOVE.finditer(element.get("transform", "")))
        self.parts.append(f"q {moves}" if moves else "")
        if kind in ("svg", "g"):
            for child in element:
                self.draw(child, here)
        elif kind == "text":
            self._write(element, here)
        else:
            self._shape(_outline(kind, element), here)
        self.parts.append("Q\n" if moves else "")

    def _shape(self, outline: str, here: Mapping[str, str]) -> None:
        fill, stroke = here["fill"] != "none", here["stroke"] != "none"
        if not outline or not (fill or stroke):
            return
        set_ = self._paint(here)
        if stroke:
            ends = CAPS.index(here["stroke-linecap"]), JOINS.index(here["stroke-linejoin"])
            set_ += f"{here['stroke-width']} w {ends[0]} J {ends[1]} j [{here['stroke-dasharray']}] 0 d "
        self.parts.append(f"q {set_}{outline}{'B' if fill and stroke else 'f' if fill else 'S'} Q\n")

    def _paint(self, here: Mapping[str, str]) -> str:
        """The colours, and the state of their opacity."""
        pair = float(here["fill-opacity"]), float(here["stroke-opacity"])
        if pair not in self.opacities:
            self.opacities.append(pair)
        paints = [(here[name], operator) for name, operator in (("fill", "rg"), ("stroke", "RG"))]
        colours = [f"{_colour(paint)} {operator} " for paint, operator in paints if paint != "none"]
        return f"/G{self.opacities.index(pair)} gs {''.join(colours)}"

    def _write(self, element: ET.Element, here: Mapping[str, str]) -> None:
        said, size = element.text or "", float(here["font-size"])
        if not said:
            return
        x, y = float(element.get("x", 0)), float(element.get("y", 0))
        x -= {"middle": 0.5, "end": 1.0}.get(here["text-anchor"], 0.0) * measure(said, size)
        pieces = [(one, "".join(some)) for one, some in groupby(said, font_of)]
        words = " ".join(self._piece(one, piece, size) for one, piece in pieces)
        self.parts.append(f"q {self._paint(here)}BT 1 0 0 -1 {x:.2f} {y:.2f} Tm {words} ET Q\n")

    def _piece(self, font: Font, said: str, size: float) -> str:
        """Letters of one font; what follows stands after them."""
        self.letters.setdefault(font, set()).update(said)
        glyphs = "".join(f"{font.glyph(letter):04x}" for letter in said)
        return f"/F{list(self.letters).index(font)} {size:g} Tf <{glyphs}> Tj"


def _outline(kind: str, element: ET.Element) -> str:
    """A shape's path as operators."""

    def number(name: str) -> float:
        return float(element.get(name, 0))

    match kind:
        case "path":
            return "".join(_path(element.get("d", "")))
        case "rect":
            return f"{number('x'):g} {number('y'):g} {number('width'):g} {number('height'):g} re "
        case "polyline" | "polygon":
            places = [place.replace(",", " ") for place in element.get("points", "").split()]
            first, *others = places or [""]
            closed = "h " if kind == "polygon" else ""
            return f"{first} m {''.join(f'{place} l ' for place in others)}{closed}" if places else ""
        case "circle":
            return _circle(number("cx"), number("cy"), number("r"))
    raise ValueError(f"<{kind}> is no element of a drawing for paper")


def _path(d: str) -> Iterator[str]:
    """M, L, H, V, Q, Z and their relative forms."""
    words = [letter or float(number) for letter, number in _STEP.findall(d)]
    at, x, y, order = 0, 0.0, 0.0, ""
    while at < len(words):
        if isinstance(words[at], str):
            order, at = str(words[at]), at + 1
            if order in "Zz":
                yield "h "
                continue
        kind, by = order.upper(), (x, y) if order.islower() else (0.0, 0.0)
        count = {"M": 2, "L": 2, "H": 1, "V": 1, "Q": 4}.get(kind)
        if count is None:
            raise ValueError(f"a path with {order!r} is none of a drawing for paper")
        given = [float(word) for word in words[at : at + count]]
        at += count
        if kind == "H":
            x = by[0] + given[0]
        elif kind == "V":
            y = by[1] + given[0]
        else:
            before, (x, y) = (x, y), (by[0] + given[-2], by[1] + given[-1])
        if kind == "Q":
            handle = by[0] + given[0], by[1] + given[1]
            ends = [
                (a + 2 * (b - a) / 3) for end in (before, (x, y)) for a, b in zip(end, handle, strict=True)
            ]
            yield f"{' '.join(f'{v:.2f}' for v in ends)} {x:.2f} {y:.2f} c "
        else:
            yield f"{x:.2f} {y:.2f} {'m' if kind == 'M' else 'l'} "
        order = {"M": "L", "m": "l"}.get(order, order)


def _circle(x: float, y: float, r: float) -> str:
    k = CIRCLE * r
    quarters = [((r, k), (k, r), (0, r)), ((-k, r), (-r, k), (-r, 0)), ((-r, -k), (-k, -r), (0, -r)),
                ((k, -r), (r, -k), (r, 0))]  # fmt: skip
    curves = (" ".join(f"{x + a:.2f} {y + b:.2f}" for a, b in quarter) for quarter in quarters)
    return f"{x + r:.2f} {y:.2f} m {' c '.join(curves)} c h "


def _moved(kind: str, first: str, second: str | None) -> str:
    if kind == "translate":
        return f"1 0 0 1 {float(first):.2f} {float(second or 0):.2f} cm "
    from math import cos, radians, sin

    c, s = cos(radians(float(first))), sin(radians(float(first)))
    return f"{c:.6f} {s:.6f} {-s:.6f} {c:.6f} 0 0 cm "


def _colour(name: str) -> str:
    digits = name.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    return " ".join(f"{int(digits[i : i + 2], 16) / 255:.4g}" for i in (0, 2, 4))


def _text(said: str) -> str:
    return f"<feff{said.encode('utf-16-be', 'replace').hex()}>"


def _stream(data: bytes, whole: bool = False) -> bytes:
    packed = zlib.compress(data, 9)
    length = f"/Length1 {len(data)} " if whole else ""
    return (
        f"<< /Length {len(packed)} {length}/Filter /FlateDecode >>\nstream\n".encode()
        + packed
        + b"\nendstream"
    )


def _file(objects: list[str | bytes]) -> bytes:
    """The file: the objects, where each begins, and which are the first and the last."""
    made = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n% " + MARK.encode() + b"\n"
    places = []
    for i, one in enumerate(objects, start=1):
        places.append(len(made))
        made += f"{i} 0 obj\n".encode() + (one if isinstance(one, bytes) else one.encode()) + b"\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"trailer << /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>\n"
    end += f"startxref\n{len(made)}\n%%EOF\n"
    return made + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{end}".encode()
