"""Points in panels, pictures, and what moves: what they hold, on any input."""

from __future__ import annotations

import json
import math
import re
import struct
import zlib
from xml.dom import minidom

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.draw import page
from danlu.draw.moving import MovingPictures, MovingPoints, stills
from danlu.draw.picture import Picture, png
from danlu.draw.scatter import (
    GAP,
    LEFT,
    SIDE,
    TOP,
    Point,
    Scatter,
    around,
    arrows,
    scales,
    within,
)
from danlu.files.overwrite import MARK
from tests.draw.test_page import HOSTILE, read

POINTS = st.lists(st.tuples(st.floats(), st.floats()), max_size=20)


@given(POINTS, POINTS)
def test_a_scatter_is_well_formed(data: list[Point], samples: list[Point]) -> None:
    """Each point is drawn in the frame of the first panel, or counted as beyond it."""
    made = Scatter(title=HOSTILE, caption=HOSTILE).panel(HOSTILE, [(0, data)]).panel("b", [(1, samples)])
    svg = made.svg()
    minidom.parseString(svg.encode())
    beyond = re.findall(r">([\d,]+) beyond the frame<", svg)
    assert svg.count("h0") + sum(int(n.replace(",", "")) for n in beyond) == len(data) + len(samples)
    assert "nan" not in svg and "inf" not in svg


@given(st.lists(st.tuples(*2 * [st.floats(-1e100, 1e100)]), min_size=1, max_size=20))
def test_axes_are_equal_and_the_first_panel_is_inside(points: list[Point]) -> None:
    left, right, low, high = frame = around(points)
    assert right - left == pytest.approx(high - low, rel=1e-4) and right > left
    assert all(within(point, frame) for point in points)


@given(
    st.lists(st.floats(-3, 3), min_size=4, max_size=4).filter(lambda a: max(map(abs, a)) > 0.1),
    st.floats(0.1, 2),
)
def test_arrows_of_a_linear_field_are_that_field(matrix: list[float], longest: float) -> None:
    """Each drawn line is the vector where it begins times one number; the longest is as long as said."""
    a, b, c, d = matrix
    grid = [(i / 2, j / 2) for i in range(-4, 5) for j in range(-4, 5)]
    vectors = [(a * x + b * y, c * x + d * y) for x, y in grid]
    scale = longest / max(math.hypot(*vector) for vector in vectors)
    drawn = Scatter().panel("data", [(0, grid)]).panel("field", arrows=arrows(grid, vectors, longest))
    across, up = scales(drawn.frame, LEFT + SIDE + GAP, TOP)
    found = re.findall(r"M([-\d.]+) ([-\d.]+)L([-\d.]+) ([-\d.]+)(?=M|\")", drawn.svg())
    assert len(found) == len(grid)
    for (x, y), (u, v), ends in zip(grid, vectors, found, strict=True):
        wanted = across.at(x), up.at(y), across.at(x + scale * u), up.at(y + scale * v)
        assert [float(end) for end in ends] == pytest.approx(wanted, abs=0.051)  # tenths of a pixel
    minidom.parseString(drawn.svg().encode())


def test_arrows_that_are_not_finite_are_left_out() -> None:
    there = arrows([(0.0, 0.0), (1.0, 0.0), (2.0, 0.0)], [(3.0, 4.0), (math.nan, 1.0), (0.0, math.inf)], 1.0)
    assert there == [((0.0, 0.0), (pytest.approx(0.6), pytest.approx(0.8)))]
    assert arrows([(1.0, 1.0)], [(0.0, 0.0)], 1.0) == [((1.0, 1.0), (1.0, 1.0))]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_unpacks_to_its_pixels(channels: int) -> None:
    pixels = bytes(range(5 * 4 * channels))
    data = png(pixels, 5, 4, channels)
    chunks, place = {}, 8
    while place < len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + size]
        assert struct.unpack(">I", data[place + 8 + size : place + 12 + size])[0] == zlib.crc32(kind + body)
        chunks[kind], place = body, place + 12 + size
    assert struct.unpack(">II", chunks[b"IHDR"][:8]) == (5, 4)
    assert MARK.encode() in chunks[b"tEXt"] and MARK.encode() in data[:1000]
    rows = zlib.decompress(chunks[b"IDAT"])
    line = 5 * channels + 1
    assert b"".join(rows[i * line + 1 : (i + 1) * line] for i in range(4)) == pixels
    with pytest.raises(ValueError, match="bytes are no 5 × 5 pixels"):
        png(pixels, 5, 5, channels)


@given(st.integers(1, 300))
def test_stills_begin_and_end(count: int) -> None:
    found = stills(count)
    assert found[0] == 0 and found[-1] == count - 1 and len(found) == min(count, 5)
    assert found == sorted(set(found))


@given(st.lists(POINTS.filter(bool).map(lambda one: one[:1]), min_size=2, max_size=6))
def test_what_moves_holds_its_frames(frames: list[list[Point]]) -> None:
    html = page(HOSTILE, [("", [MovingPoints(frames, [(0.0, 0.0), (1.0, 2.0)], HOSTILE)])])
    reader = read(html)
    (data,) = [text for text in reader.texts if text.startswith('{"frames"')]
    found = json.loads(data)["frames"]
    assert [len(frame) for frame in found] == [2 * len(frame) for frame in frames]
    assert all(isinstance(place, int) for frame in found for place in frame)
    assert not {"src", "onerror"} & reader.attributes and "img" not in reader.tags


def test_pictures_that_move() -> None:
    frames = [Picture(png(bytes([shade] * 4), 2, 2, 1), 2, 2, title=HOSTILE) for shade in (0, 9, 200)]
    html = page("pictures", [("", [MovingPictures(frames, HOSTILE)])])
    (data,) = [text for text in read(html).texts if text.startswith('{"frames"')]
    assert json.loads(data)["frames"] == [frame.uri for frame in frames]
    assert html.count(frames[1].uri) == 2  # the script's, and the one that is seen without scripts
