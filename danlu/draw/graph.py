"""A computation graph: boxes from top to bottom, what skips some of them on rails to the left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from danlu.draw import palette
from danlu.draw.figure import Figure
from danlu.draw.scatter import opening
from danlu.draw.xml import cut, px, text

BOX, HIGH, GAP = 300, 38, 26  # of a box, and between two
LANE, INDENT, HEAD, FRAME = 16, 14, 24, 10  # of a rail, of a frame, its heading, its room
NAME, DETAIL = 26, 52  # letters


class Row(NamedTuple):
    """A line of the picture: the box of ``node``, or the beginning of its frame where it is ``open``, at
    ``depth`` frames; ``name``: its name within the frame around it."""

    node: Mapping[str, Any]
    depth: int
    open: bool
    name: str


class Rail(NamedTuple):
    """From the box of row ``begin`` to those of the rows ``ends``, which do not follow it; the lanes count
    from the boxes to the left. ``begin`` −1: the input."""

    begin: int
    ends: tuple[int, ...]
    lane: int


@dataclass(frozen=True)
class Graph(Figure):
    """The drawing of a tree of nodes: mappings with ``number``, ``name``, ``kind``, ``shape``, ``dtype``,
    ``twice``, ``times``, ``sources``, ``inside`` and what ``told`` says of them in words, by number (a line
    of the box; −1, the whole: a line at the top). Boxes with dashed lines have no second derivative.
    ``title``, ``caption``: as of a chart."""

    root: Mapping[str, Any]
    told: Mapping[int, str]
    title: str = ""
    caption: str = ""

    def svg(self) -> str:
        """The drawing: well-formed XML that holds its own style."""
        rows = list(rows_of(self.root))
        rails = rails_of(rows)
        whole = self.told.get(-1, "") if rows[0].open else ""
        deepest = max(row.depth for row in rows)
        left = 16 + LANE * (1 + max((rail.lane for rail in rails), default=0)) + INDENT * deepest
        tops, ends, y = [], [], 40.0 + (26 if self.title else 0) + (20 if whole else 0)
        for i, row in enumerate(rows):
            before = rows[i - 1] if i else None
            if before is not None:
                y += FRAME * max(0, before.depth + before.open - row.depth)
            tops.append(y)
            y += HEAD if row.open else HIGH + GAP
            ends.append(y)
        width, height = self._right(rows, left, whole) + 16, int(y + 30)
        said = text(self.title or self.caption or "a computation graph")
        parts = [opening(int(width), height, said)]
        if self.title:
            parts.append(f'<text x="16" y="24" font-size="15">{text(self.title)}</text>')
        if whole:
            y = 44 if self.title else 24
            parts.append(f'<text x="16" y="{y}">{text(whole)}</text>')
        parts += [self._frame(rows, i, tops, ends, left) for i, row in enumerate(rows) if row.open and i]
        parts += [_rail(rail, tops, left) for rail in rails]
        parts += self._arrows(rows, tops, left)
        parts += [self._box(row, tops[i], left) for i, row in enumerate(rows) if not row.open]
        return "".join([*parts, "</svg>"])

    def _right(self, rows: Sequence[Row], left: float, whole: str) -> float:
        """Where what is drawn ends: boxes, their frames, and words by the widths of their letters."""
        frames = [_room(row) for row in rows[1:] if row.open]
        words = [len(passing(row.node)) for row in rows if not row.open]
        ends = [left + BOX + max(frames, default=0), left + BOX / 2 + 8 + 6.5 * max(words, default=0)]
        return max(*ends, 16 + 8 * len(self.title), 16 + 6.5 * len(whole))

    def _box(self, row: Row, top: float, left: float) -> str:
        node = row.node
        dash = "" if node["twice"] else ' stroke-dasharray="5 3"'
        times = f" ×{node['times']}" if node["times"] > 1 else ""
        told = self.told.get(node["number"], "")
        first, second = f'y="{px(top + 16)}"', f'y="{px(top + 31)}"'
        name, kind = text(cut(row.name, NAME)) + times, text(cut(node["kind"], NAME))
        return (
            f'<g class="{palette.name(colour_of(node["kind"]))}"><rect x="{px(left)}" y="{px(top)}" '
            f'width="{BOX}" height="{HIGH}" rx="6" fill="currentColor" fill-opacity="0.09" '
            f'stroke="currentColor"{dash}><title>{text(node["name"])}: {text(told)}</title></rect></g>'
            f'<text x="{px(left + 10)}" {first}>{name}</text>'
            f'<text x="{px(left + BOX - 10)}" {first} text-anchor="end">{kind}</text>'
            f'<g class="muted"><text x="{px(left + 10)}" {second} font-size="11" fill="currentColor">'
            f"{text(cut(told, DETAIL))}</text></g>"
        )

    def _frame(
        self, rows: Sequence[Row], place: int, tops: Sequence[float], ends: Sequence[float], left: float
    ) -> str:
        row, last = rows[place], place
        while last + 1 < len(rows) and rows[last + 1].depth > row.depth:
            last += 1
        inner = _room(row)
        x = left - inner
        top, bottom = tops[place], ends[last] - GAP + FRAME / 2
        times = f" ×{row.node['times']}" if row.node["times"] > 1 else ""
        label = cut(f"{row.name} · {row.node['kind']}", DETAIL) + times
        return (
            f'<g class="muted"><rect x="{px(x)}" y="{px(top)}" width="{px(BOX + 2 * inner)}" '
            f'height="{px(bottom - top)}" rx="8" fill="none" stroke="currentColor" stroke-opacity="0.6"/></g>'
            f'<text x="{px(left)}" y="{px(top + 16)}" font-size="13">{text(label)}</text>'
        )

    def _arrows(self, rows: Sequence[Row], tops: Sequence[float], left: float) -> Iterator[str]:
        """From each box to the next one, where that reads it, and out of the last, with what passes."""
        x = left + BOX / 2
        before: int | None = None
        for i, row in enumerate(rows):
            if row.open:
                continue
            number = None if before is None else rows[before].node["number"]
            if number in row.node["sources"] or (before is None and -1 in row.node["sources"]):
                begin = tops[0] - 16 if before is None else tops[before] + HIGH
                yield _arrow(x, begin, tops[i])
                if before is not None:
                    yield _passing(rows[before].node, x, tops[before] + HIGH)
            before = i
        if before is not None:
            yield _arrow(x, tops[before] + HIGH, tops[before] + HIGH + GAP)
            yield _passing(rows[before].node, x, tops[before] + HIGH)


def _room(row: Row) -> int:
    """How far the frame of a row reaches beyond the boxes."""
    return INDENT * (4 - min(row.depth, 3))


def rows_of(node: Mapping[str, Any], depth: int = 0, above: str = "") -> Iterator[Row]:
    """The lines of the picture in their order."""
    name = node["name"]
    yield Row(node, depth, bool(node["inside"]), name.removeprefix(f"{above}.") or "network")
    for child in node["inside"]:
        yield from rows_of(child, depth + 1, name)


def rails_of(rows: Sequence[Row]) -> list[Rail]:
    """The edges between boxes that are not neighbours, those from one box together, in the nearest lane that
    is free all the way."""
    at = {row.node["number"]: i for i, row in enumerate(rows) if not row.open}
    boxes = [i for i, row in enumerate(rows) if not row.open]
    follows = dict(zip(boxes[1:], boxes, strict=False))
    edges: dict[int, list[int]] = {}
    for i in boxes:
        for source in rows[i].node["sources"]:
            begin = at.get(source, -1)
            if begin < i and begin != follows.get(i, -1):
                edges.setdefault(begin, []).append(i)
    rails: list[Rail] = []
    for begin, ends in sorted(edges.items(), key=lambda edge: (edge[1][-1] - edge[0], edge)):
        taken = {rail.lane for rail in rails if rail.begin < ends[-1] and begin < rail.ends[-1]}
        lane = next(k for k in range(len(edges) + 1) if k not in taken)
        rails.append(Rail(begin, tuple(ends), lane))
    return rails


def lines(rows: Sequence[Row], rails: Sequence[Rail]) -> list[str]:
    """The rails in letters, a line for each row: ┌ leaves a row, └ and ├ lead into one, which ▶ marks."""
    lanes = 1 + max((rail.lane for rail in rails), default=-1)
    made = []
    for i in range(len(rows)):
        letters, into = [" "] * lanes, False
        for rail in rails:
            if rail.begin < i < rail.ends[-1]:
                letters[lanes - 1 - rail.lane] = "│"
        for rail in rails:
            column = lanes - 1 - rail.lane
            if i not in (rail.begin, *rail.ends):
                continue
            into |= i in rail.ends
            met = letters[column] != " "
            letters[column] = "├" if met else "┌" if i == rail.begin else "└"
            for k in range(column + 1, lanes):
                letters[k] = {"│": "┼", " ": "─", "┌": "┬", "└": "┴"}.get(letters[k], letters[k])
        made.append("".join(letters) + ("▶" if into else " ") * (lanes > 0))
    return made


def passing(node: Mapping[str, Any]) -> str:
    """What a node gives on: 16 × 64 × 128 float32."""
    return f"{' × '.join(map(str, node['shape']))} {node['dtype']}" if node["dtype"] else ""


def colour_of(kind: str) -> int:
    """The colour of a class of modules: the same for the same name, in every picture."""
    return sum(kind.encode()) % len(palette.LIGHT)


def _arrow(x: float, begin: float, end: float) -> str:
    return f'<path d="M{px(x)} {px(begin)}V{px(end)}m-4 -7l4 7l4 -7" fill="none" stroke="currentColor"/>'


def _passing(node: Mapping[str, Any], x: float, y: float) -> str:
    return (
        f'<g class="muted"><text x="{px(x + 8)}" y="{px(y + 17)}" font-size="11" fill="currentColor">'
        f"{text(passing(node))}</text></g>"
    )


def _rail(rail: Rail, tops: Sequence[float], left: float) -> str:
    x = left - LANE * (rail.lane + 1)
    begin = tops[0] - 8 if rail.begin < 0 else tops[rail.begin] + HIGH - 8
    start = left + BOX / 2 if rail.begin < 0 else left
    path = f"M{px(start)} {px(begin)}H{px(x + 6)}Q{px(x)} {px(begin)} {px(x)} {px(begin + 6)}"
    for end in (tops[row] + 10 for row in rail.ends):
        path += f"V{px(end - 6)}Q{px(x)} {px(end)} {px(x + 6)} {px(end)}H{px(left)}m-7 -4l7 4l-7 4"
        path += f"M{px(x)} {px(end - 6)}"
    return f'<g class="c0"><path d="{path}" fill="none" stroke="currentColor" stroke-width="2"/></g>'
