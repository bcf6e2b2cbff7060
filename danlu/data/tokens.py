"""Token files: a stream of token ids on disk, memory-mapped when read.

A file is a header of 64 bytes and then the ids, all little-endian:

====== ====== ==========================================================
offset bytes  what
====== ====== ==========================================================
0      8      ``danlutok``
8      4      format, 1
12     4      bytes an id takes, 2 or 4
16     8      vocabulary: every id is smaller
24     8      number of ids
32     32     SHA-256 of the ids followed by the first 32 header bytes
64            the ids
====== ====== ==========================================================
"""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from danlu.data.errors import DataError
from danlu.files.read import open_file

MAGIC = b"danlutok"
FORMAT = 1
HEADER = 64
_FIELDS = struct.Struct("<8sIIQQ")
_VERIFY_BELOW = 64 << 20  # bytes; hashing that much takes some 50 ms, more would delay every start
_CHUNK = 1 << 22  # ids checked at a time


def id_type(vocabulary: int) -> np.dtype[Any]:
    """The type in which ids below ``vocabulary`` are stored: uint16 where they fit, or uint32."""
    return np.dtype("<u2" if vocabulary <= 1 << 16 else "<u4")


@dataclass(frozen=True, eq=False)
class Tokens:
    """A memory-mapped token file; ``len(tokens)`` is its number of ids.

    ``ids`` is a read-only array [len] of uint16 or uint32; ``hash`` is the SHA-256 that the header
    records, in hexadecimal. ``limit``: how many of them training makes do with (``data.tokens``); None: all.
    ``noise``: which share of them training reads wrong (``data.noise``).
    """

    path: Path
    vocabulary: int
    hash: str
    ids: NDArray[Any] = field(repr=False)
    limit: int | None = None
    noise: float = 0.0

    def __len__(self) -> int:
        return int(self.ids.shape[0])

    def check(self, ids: NDArray[Any], start: int) -> None:
        """Raises DataError where one of ``ids``, which begin at position ``start``, is too large."""
        if ids.size and int(ids.max()) >= self.vocabulary:
            offset = int(np.argmax(ids >= self.vocabulary))
            raise DataError(
                f"{self.path} holds token {int(ids[offset])} at position {start + offset} "
                f"(byte {HEADER + (start + offset) * self.ids.itemsize}), outside its vocabulary of "
                f"{self.vocabulary}: the file is damaged"
            )


def open_tokens(path: str | os.PathLike[str], *, verify: bool | None = None) -> Tokens:
    """Opens a token file, after checking its header and its length.

    ``verify``: also read it all and check every id and the hash; by default only below 64 MiB.

    Raises FileError where it is missing, DataError, naming the place, where it is no token file, is
    longer or shorter than its header says, or (when verified) is not what was written.
    """
    path = Path(path)
    with open_file(path) as file:
        header = file.read(HEADER)
        size = os.fstat(file.fileno()).st_size
    if len(header) < HEADER:
        raise DataError(
            f"{path} ends at byte {len(header)}, within the header of {HEADER} bytes: it is cut short"
        )
    magic, version, width, vocabulary, count = _FIELDS.unpack_from(header)
    if magic != MAGIC:
        raise DataError(
            f"{path} is not a token file: its first 8 bytes (offset 0) are {magic!r}, not {MAGIC!r}"
        )
    if version != FORMAT:
        raise DataError(f"{path} has token format {version} (byte 8); this version of danlu reads {FORMAT}")
    if not 0 < vocabulary <= 1 << 32 or width != id_type(vocabulary).itemsize:
        raise DataError(
            f"{path} says {width} bytes an id (byte 12) and a vocabulary of {vocabulary} (byte 16), "
            "which do not agree"
        )
    if size != HEADER + count * width:
        what = "cut short" if size < HEADER + count * width else "longer than it was written"
        raise DataError(
            f"{path} ends at byte {size}; its {count} ids end at byte {HEADER + count * width}: it is {what}"
        )
    # An empty file cannot be mapped.
    ids = (
        np.memmap(path, id_type(vocabulary), "r", HEADER, (count,))
        if count
        else np.empty(0, id_type(vocabulary))
    )
    # As a plain array, a slice costs a third of what a memmap's does; it keeps the mapping alive.
    tokens = Tokens(path, vocabulary, header[32:].hex(), np.asarray(ids))
    if size <= _VERIFY_BELOW if verify is None else verify:
        _verify(tokens, header)
    return tokens


def _verify(tokens: Tokens, header: bytes) -> None:
    digest = hashlib.sha256()
    for start in range(0, len(tokens), _CHUNK):
        chunk = tokens.ids[start : start + _CHUNK]
        tokens.check(chunk, start)
        digest.update(chunk.data)
    digest.update(header[:32])
    if digest.hexdigest() != tokens.hash:
        raise DataError(
            f"{tokens.path} was altered after it was written: its SHA-256 is {digest.hexdigest()}, "
            f"and bytes 32 to {HEADER} record {tokens.hash}"
        )


class TokenWriter:
    """Writes a token file in chunks; a context manager.

    The header is written last, so that a writer that fails leaves a file that ``open_tokens``
    refuses.
    """

    def __init__(self, path: str | os.PathLike[str], vocabulary: int) -> None:
        self.path = Path(path)
        self.vocabulary = vocabulary
        self.count = 0
        self.hash = ""
        self._type = id_type(vocabulary)
        self._digest = hashlib.sha256()
        self._file = open(self.path, "wb", buffering=1 << 20)  # noqa: SIM115 (closed by __exit__)
        self._file.write(bytes(HEADER))

    def write(self, ids: NDArray[Any]) -> None:
        """Appends ``ids``, any integers; raises DataError for one outside the vocabulary."""
        if ids.size == 0:
            return
        if int(ids.max()) >= self.vocabulary or int(ids.min()) < 0:
            raise DataError(
                f"the tokenizer gave an id outside its vocabulary of {self.vocabulary}, "
                f"for {self.path} near position {self.count}"
            )
        chunk = np.ascontiguousarray(ids, self._type)
        self._digest.update(chunk.data)
        self._file.write(chunk.data)
        self.count += int(chunk.size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                fields = _FIELDS.pack(MAGIC, FORMAT, self._type.itemsize, self.vocabulary, self.count)
                self._digest.update(fields)
                self.hash = self._digest.hexdigest()
                self._file.seek(0)
                self._file.write(fields + self._digest.digest())
        finally:
            self._file.close()
