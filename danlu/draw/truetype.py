"""A TrueType font: its widths, and as much of it as a text needs (ISO/IEC 14496-22)."""

from __future__ import annotations

import struct
from collections.abc import Iterable

KEPT = ("cvt ", "fpgm", "glyf", "head", "hhea", "hmtx", "loca", "maxp", "prep")  # what a PDF needs of a font
RESTRICTED = 2  # a bit of OS/2's fsType: the font may not be embedded
WORDS, SCALE, PAIR, MATRIX, MORE = 1, 8, 64, 128, 32  # flags of a part of a compound glyph


class Font:
    """``name``: in a PDF; ``units``: of an em; ``box``: of all glyphs; ``ascent``, ``descent``: above and
    below the line, in em/1000. Of a collection it is the first. Raises ``ValueError`` for what is no such
    font, or may not be embedded."""

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        try:
            self._read(data)
        except (struct.error, KeyError, StopIteration, UnicodeDecodeError) as error:
            raise ValueError(f"{name} is no TrueType font that can be read: {error!r}") from None

    def _read(self, data: bytes) -> None:
        first = struct.unpack_from(">I", data, 12)[0] if data[:4] == b"ttcf" else 0
        count = struct.unpack_from(">H", data, first + 4)[0]
        self._tables: dict[str, bytes] = {}
        for i in range(count):
            name, _, at, size = struct.unpack_from(">4sIII", data, first + 12 + 16 * i)
            self._tables[name.decode()] = data[at : at + size]
        if "OS/2" in self._tables and struct.unpack_from(">H", self._tables["OS/2"], 8)[0] & RESTRICTED:
            raise ValueError(f"{self.name} may not be embedded")
        self._tables["glyf"]  # outlines of another kind (CFF) are not read
        head, hhea = self._tables["head"], self._tables["hhea"]
        self.units: int = struct.unpack_from(">H", head, 18)[0]
        self.box = tuple(self._em(v) for v in struct.unpack_from(">4h", head, 36))
        self.ascent, self.descent = (self._em(v) for v in struct.unpack_from(">2h", hhea, 4))
        self._count: int = struct.unpack_from(">H", self._tables["maxp"], 4)[0]
        wide: int = struct.unpack_from(">H", hhea, 34)[0]
        pairs = struct.unpack_from(f">{2 * wide}H", self._tables["hmtx"])
        self._widths = [self._em(w) for w in pairs[::2]]
        form = ">%dI" if struct.unpack_from(">h", head, 50)[0] else ">%dH"
        places = struct.unpack_from(form % (self._count + 1), self._tables["loca"])
        self._places = places if form == ">%dI" else tuple(2 * place for place in places)
        self._glyphs = _characters(self._tables["cmap"])

    def _em(self, value: int) -> int:
        return round(1000 * value / self.units)

    def glyph(self, letter: str) -> int:
        """The number of a letter's glyph; 0, an empty box, where the font has none."""
        return self._glyphs.get(ord(letter), 0)

    def width(self, glyph: int) -> int:
        """How far a glyph moves the pen, in em/1000."""
        return self._widths[min(glyph, len(self._widths) - 1)]

    def subset(self, glyphs: Iterable[int]) -> bytes:
        """The font with the outlines of these glyphs alone; all keep their numbers."""
        wanted = self._with_parts({0, *glyphs})
        outlines, places, at = [], [0], 0
        for glyph in range(self._count):
            outline = self._outline(glyph) if glyph in wanted else b""
            outlines.append(outline + bytes(-len(outline) % 4))
            at += len(outlines[-1])
            places.append(at)
        head = bytearray(self._tables["head"])
        struct.pack_into(">I", head, 8, 0)
        struct.pack_into(">h", head, 50, 1)
        loca = struct.pack(f">{len(places)}I", *places)
        made = {"glyf": b"".join(outlines), "head": bytes(head), "loca": loca}
        return _written({name: made.get(name, self._tables[name]) for name in KEPT if name in self._tables})

    def _outline(self, glyph: int) -> bytes:
        return self._tables["glyf"][self._places[glyph] : self._places[glyph + 1]]

    def _with_parts(self, glyphs: set[int]) -> set[int]:
        """With the glyphs that compound ones are made of."""
        found, open_ = set(glyphs), list(glyphs)
        while open_:
            outline = self._outline(open_.pop())
            if len(outline) < 12 or struct.unpack_from(">h", outline)[0] >= 0:
                continue
            at, flags = 10, MORE
            while flags & MORE:
                flags, part = struct.unpack_from(">HH", outline, at)
                at += 8 if flags & WORDS else 6
                at += 2 if flags & SCALE else 4 if flags & PAIR else 8 if flags & MATRIX else 0
                if part not in found:
                    found.add(part)
                    open_.append(part)
        return found


def _characters(cmap: bytes) -> dict[int, int]:
    """Glyphs by character, of a table of format 4."""
    count = struct.unpack_from(">H", cmap, 2)[0]
    tables = [struct.unpack_from(">HHI", cmap, 4 + 8 * i) for i in range(count)]
    at = next(place for platform, kind, place in tables if (platform, kind) == (3, 1))
    length = struct.unpack_from(">H", cmap, at + 2)[0]
    parts = struct.unpack_from(">H", cmap, at + 6)[0] // 2
    words = struct.unpack_from(f">{(length - 14) // 2}H", cmap, at + 14)
    ends, starts = words[:parts], words[parts + 1 : 2 * parts + 1]
    deltas, offsets = words[2 * parts + 1 : 3 * parts + 1], words[3 * parts + 1 : 4 * parts + 1]
    found = {}
    for i, (start, end, delta, offset) in enumerate(zip(starts, ends, deltas, offsets, strict=True)):
        for letter in range(start, min(end, 0xFFFE) + 1):
            place = 3 * parts + 1 + i + offset // 2 + letter - start
            glyph = words[place] if offset else letter
            found[letter] = (glyph + delta) % 65536 if glyph or not offset else 0
    return found


def _written(tables: dict[str, bytes]) -> bytes:
    """A font file of tables, in the order of their names."""
    power = len(tables).bit_length() - 1
    head = struct.pack(">IHHHH", 0x10000, len(tables), 16 << power, power, 16 * len(tables) - (16 << power))
    at, body = 12 + 16 * len(tables), b""
    for name in sorted(tables):
        data = tables[name]
        padded = data + bytes(-len(data) % 4)
        checksum = sum(struct.unpack(f">{len(padded) // 4}I", padded)) % 2**32
        head += struct.pack(">4sIII", name.encode(), checksum, at + len(body), len(data))
        body += padded
    return head + body
