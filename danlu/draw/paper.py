"""A drawing for a page of paper: light colours only, each an attribute where it is used, one named font, in
millimetres. Editors, LaTeX and converters follow no style sheet and know no ``currentColor``."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from danlu.draw import palette
from danlu.draw.fonts import CHINESE, NAME
from danlu.draw.xml import legal
from danlu.files.overwrite import MARK

COLUMN, PAGE = 82.5, 139.7  # millimetres: a column of ICML's, the text of NeurIPS's
SMALLEST, LEAST = 11, 7  # the smallest letters of drawings, in pixels, are so many points high at the least
POINT = 25.4 / 72  # millimetres
INK, GREY, FAINT = "#222222", "#777777", "#e5e5e5"
FONT = f"{NAME}, DejaVu Sans, Arial, {CHINESE}, sans-serif"
SVG = "http://www.w3.org/2000/svg"


def pixels(width_mm: float) -> int:
    """How wide a drawing is, in its own pixels, whose smallest letters have 7 points at this width."""
    return int(width_mm / POINT * SMALLEST / LEAST)


def paper(svg: str, width_mm: float, said: str = "") -> str:
    """A drawing of ours, ``width_mm`` wide, or as wide as it must be for letters of 7 points. ``said``: what
    it shows, for those who do not see it."""
    root = ET.fromstring(svg)
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{SVG}}}")
    _plain(root, INK)
    _, _, width, height = map(float, root.get("viewBox", "").split())
    size = max(width_mm / width, LEAST * POINT / SMALLEST)
    about = {
        "xmlns": SVG,
        "viewBox": root.get("viewBox", ""),
        "role": "img",
        "aria-label": legal(said) or root.get("aria-label", ""),
    }
    about |= {"width": f"{size * width:.2f}mm", "height": f"{size * height:.2f}mm"}
    about |= {"font-family": FONT, "font-size": root.get("font-size", "12"), "fill": INK}
    root.attrib.clear()
    root.attrib.update(about)  # escaped when it is written
    return ET.tostring(root, encoding="unicode").replace(">", f">{MARK}", 1)


def _plain(element: ET.Element, ink: str) -> None:
    """Classes and ``currentColor`` become colours; the style sheet and what shows on a pointer go."""
    ink = _of_class(element.attrib.pop("class", ""), ink)
    if ink == FAINT:  # the grid, whose style sheet says so
        element.attrib.update({"stroke": FAINT, "fill": "none"})
    for name in ("fill", "stroke"):
        if element.get(name) == "currentColor":
            element.set(name, ink)
    for child in list(element):
        if child.tag in ("style", "title"):
            element.remove(child)
        else:
            _plain(child, ink)


def _of_class(name: str, ink: str) -> str:
    if name == "muted":
        return GREY
    if name == "grid":
        return FAINT
    return palette.LIGHT[int(name[1:])] if name[:1] == "c" and name[1:].isdigit() else ink
