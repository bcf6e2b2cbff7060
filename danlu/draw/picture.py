"""Pictures of pixels: PNG without another package, and as a part of a page."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from danlu.draw.phrases import Words
from danlu.draw.xml import text, uri
from danlu.files.overwrite import MARK
from danlu.files.read import read_bytes


def png(pixels: bytes, width: int, height: int, channels: int) -> bytes:
    """A PNG (ISO/IEC 15948) of rows of pixels, a byte for each of 1 (grey) or 3 (red, green, blue) channels.
    It says near its beginning that danlu wrote it, so that it may be written over. Raises ``ValueError``
    where their number is another."""
    line = width * channels
    if channels not in (1, 3) or len(pixels) != line * height:
        raise ValueError(f"{len(pixels)} bytes are no {width} × {height} pixels of {channels} channels")
    rows = b"".join(b"\0" + pixels[i * line : (i + 1) * line] for i in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    note = b"Comment\0" + MARK.encode()
    chunks = ((b"IHDR", header), (b"tEXt", note), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    made = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        made += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return made


@dataclass(frozen=True)
class Picture:
    """A PNG on a page, ``width`` × ``height`` pixels. ``title``, ``caption``: as of a chart."""

    data: bytes
    width: int
    height: int
    title: str = ""
    caption: str = ""

    @property
    def uri(self) -> str:
        """The picture itself as an address, so that nothing is loaded."""
        return uri("image/png", self.data)

    def reworded(self, words: Words) -> Picture:
        """The same with title and caption in other words."""
        return replace(self, title=words(self.title), caption=words(self.caption))

    def svg(self) -> str:
        """The picture as SVG."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" '
            f'aria-label="{text(self.title or self.caption or "pictures")}">'
            f'<image width="{self.width}" height="{self.height}" href="{self.uri}"/></svg>'
        )

    def _repr_html_(self) -> str:
        return self.svg()


@dataclass(frozen=True)
class Stored:
    """A picture that lies in a file, ``.png`` or ``.svg``, on a page that holds it."""

    path: Path
    caption: str = ""

    def reworded(self, words: Words) -> Stored:
        """The same with its caption in other words."""
        return replace(self, caption=words(self.caption))

    def html(self) -> str:
        """An image, in which no script runs."""
        kind = "image/svg+xml" if self.path.suffix == ".svg" else "image/png"
        said = text(self.caption)
        image = f'<img alt="{said or text(self.path.name)}" src="{uri(kind, read_bytes(self.path))}">'
        return f"<figure>{image}<figcaption>{said}</figcaption></figure>"
