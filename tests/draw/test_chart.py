"""Charts: well-formed whatever they are given, and true to the numbers."""

from __future__ import annotations

import math
import re
from xml.dom import minidom

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.draw import Chart
from danlu.draw.marks import _thinned
from danlu.draw.palette import DARK, LIGHT, VIRIDIS, viridis

HOSTILE = "<script>alert('\"&]]>')</script>\x00\x1b[31m\ud800\uffff"
numbers = st.floats(allow_nan=True, allow_infinity=True) | st.none()


def parse(chart: Chart) -> minidom.Document:
    svg = chart.svg()
    svg.encode()  # as it is written to a file
    return minidom.parseString(svg)


def texts(chart: Chart) -> list[str]:
    return [node.firstChild.data for node in parse(chart).getElementsByTagName("text") if node.firstChild]


def attributes(chart: Chart, tag: str, *names: str) -> list[tuple[float, ...]]:
    return [
        tuple(float(node.getAttribute(name)) for name in names)
        for node in parse(chart).getElementsByTagName(tag)
    ]


def everything(label: str) -> list[Chart]:
    names = [label, f"{label} again"]
    return [
        Chart(label, label, title=label, caption=label)
        .line([1, 2], [3, 4], label)
        .band([1, 2], [2, 3], [4, 5], label, means=label)
        .rule(y=3, label=label),
        Chart(label, y_names=names).dots([1, 2], [0, 1], label, tips=names, x_ends=[(0, 2), (1, 3)]),
        Chart(x_names=names, y=label).bars([1, 2], label),
        Chart(label, label).cells([1, 2], [1, 2], [[1, 2], [3, 4]], label),
    ]


@settings(max_examples=20, deadline=None)
@given(st.text(alphabet=st.characters(), max_size=60))
def test_any_label_is_escaped(label: str) -> None:
    for chart in everything(label):
        parse(chart)


def test_a_hostile_label_stays_text() -> None:
    for chart in everything(HOSTILE):
        document = parse(chart)
        assert not document.getElementsByTagName("script")
        assert any("<script>alert(" in said for said in texts(chart))
        assert not re.search(r"[\x00\x1b]", chart.svg())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), max_size=12), st.booleans(), st.booleans())
def test_any_numbers_are_drawn_or_counted(
    points: list[tuple[float, float]], log_x: bool, log_y: bool
) -> None:
    xs, ys = [x for x, _ in points], [y for _, y in points]

    def drawable(value: float | None, log: bool) -> bool:
        return value is not None and (1e-300 if log else -1e300) <= value <= 1e300

    left_out = sum(not (drawable(x, log_x) and drawable(y, log_y)) for x, y in points)
    chart = Chart("x", "y", log_x=log_x, log_y=log_y).dots(xs, ys)
    assert len(parse(chart).getElementsByTagName("circle")) == len(points) - left_out
    assert any(said.startswith(f"{left_out} left out") for said in texts(chart)) == (left_out > 0)
    for other in (Chart(log_x=log_x, log_y=log_y).line(xs, ys, "a").band(xs, ys, ys, means="b"),
                  Chart(log_y=log_y, x_names=["a"] * len(ys)).bars(ys),
                  Chart(log_x=log_x).cells(xs, [1.0], [ys], log=log_y)):  # fmt: skip
        parse(other)
        assert not re.search(r'="[^"]*\b(nan|inf)\b', other.svg())


def test_dots_lie_evenly() -> None:
    linear = attributes(Chart().dots([0, 1, 2], [5, 6, 7]), "circle", "cx", "cy")
    assert linear[1] == pytest.approx(
        [(a + b) / 2 for a, b in zip(linear[0], linear[2], strict=True)], abs=0.1
    )
    assert linear[0][0] < linear[2][0] and linear[0][1] > linear[2][1]  # y grows upwards
    log = attributes(Chart(log_x=True).dots([1, 10, 100], [1, 1, 1]), "circle", "cx")
    assert log[1][0] == pytest.approx((log[0][0] + log[2][0]) / 2, abs=0.1)


def test_bars_are_as_long_as_their_values() -> None:
    standing = attributes(Chart(x_names="abc").bars([1, 2, -4]), "rect", "height")
    lying = attributes(Chart(y_names="abc").bars([1, 2, -4]), "rect", "width")
    for (one,), (two,), (four,) in (standing, lying):
        assert (two / one, four / one) == pytest.approx((2, 4), rel=0.01)


def test_cells_tile_the_range_by_colour() -> None:
    chart = Chart(log_x=True).cells([1, 10, 100], [0, 1], [[1, 2, 3], [4, math.nan, 7]])
    cells = [node for node in parse(chart).getElementsByTagName("rect") if node.childNodes]
    assert len(cells) == 5 and "1 left out: not finite" in " ".join(texts(chart))
    fills = [node.getAttribute("fill") for node in cells]
    assert fills[0] == VIRIDIS[0] and fills[-1] == VIRIDIS[-1]
    lefts = [float(node.getAttribute("x")) for node in cells[:3]]
    widths = [float(node.getAttribute("width")) for node in cells[:3]]
    for left, width, following in zip(lefts, widths, lefts[1:], strict=False):
        assert left + width == pytest.approx(following, abs=0.2)


def test_a_line_breaks_where_it_is_unknown() -> None:
    chart = Chart().line([1, 2, 3, 4, 5], [1, 2, math.nan, 4, 5], "a")
    assert len(parse(chart).getElementsByTagName("polyline")) == 2


def test_an_infinite_interval_reaches_the_borders() -> None:
    chart = Chart().dots([1, 2], [0, 1], x_ends=[(-math.inf, math.inf), (1.5, math.nan)])
    whole, known = re.findall(r'd="M([\d.]+) [\d.]+H([\d.]+)"', chart.svg())
    assert whole == (re.search(r"M([\d.]+) [\d.]+H", chart.svg())[1], "622")  # type: ignore[index]
    assert float(known[1]) == pytest.approx(attributes(chart, "circle", "cx")[1][0], abs=0.1)


def test_one_label_has_one_colour_and_one_place_in_the_legend() -> None:
    chart = (
        Chart()
        .line([1, 2], [1, 2], "a")
        .band([1, 2], [0, 1], [2, 3], "a", means="b")
        .line([1, 2], [2, 1], "b")
    )
    assert [mark.colour for mark in chart._marks] == [0, 0, 1]
    assert texts(chart).count("a") == 1 and texts(chart).count("b") == 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=300))
def test_thinning_keeps_ends_and_extremes(ys: list[float]) -> None:
    piece = [(k / 50, y) for k, y in enumerate(ys)]
    kept = list(_thinned(piece))
    assert (kept[0], kept[-1]) == (piece[0], piece[-1])
    assert (min(y for _, y in kept), max(y for _, y in kept)) == (min(ys), max(ys))
    assert set(kept) <= set(piece) and kept == sorted(kept)
    assert len(kept) <= 4 * (len(ys) // 25 + 1)


def test_colours() -> None:
    assert len({*LIGHT, *DARK}) == len(LIGHT) + len(DARK)


def luminance(colour: str) -> float:
    """WCAG 2.2's relative luminance."""
    shares = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("colours", "paper"), [(LIGHT, "#ffffff"), (DARK, "#181818")])
def test_every_colour_stands_out_from_the_paper(colours: tuple[str, ...], paper: str) -> None:
    """By 3:1 at least, as WCAG 2.2, 1.4.11 asks of graphics."""
    for colour in colours:
        bright, dark = sorted((luminance(colour), luminance(paper)), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 3
    assert [viridis(k / (len(VIRIDIS) - 1)) for k in range(len(VIRIDIS))] == list(VIRIDIS)
    assert (viridis(-1), viridis(2)) == (VIRIDIS[0], VIRIDIS[-1])
