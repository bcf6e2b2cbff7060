"""Scalars out of TensorBoard's event files: TFRecord frames around ``Event`` messages, of which a few fields
are read here."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from danlu.files.errors import FileError
from danlu.files.protobuf import all_of, fields, signed
from danlu.files.read import LARGE, read_bytes

# Numbers of fields (tensorflow's event.proto, summary.proto, tensor.proto) and of a type.
STEP, SUMMARY = 2, 5
VALUE, TAG, SIMPLE, TENSOR = 1, 1, 2, 8
DTYPE, CONTENT, FLOATS, DOUBLES = 1, 4, 5, 6
DOUBLE = 2
LARGEST = 4096  # bytes of a record that could hold a number; images are not summed up
POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed


def scalars(folder: Path, tag: str) -> list[float]:
    """The values of ``tag`` by step, of the event files in ``folder`` and below. A record that was not
    written to its end closes its file; a wrong checksum is an error. Raises ``FileError``."""
    found: list[tuple[int, float]] = []
    for file in sorted(folder.rglob("*tfevents*")) if folder.is_dir() else [folder]:
        for record, checksum in _records(read_bytes(file, LARGE), file):
            known = tag.encode() in record
            if known or len(record) < LARGEST:
                _check(record, checksum, file)
            if known:
                found += [(step, value) for name, step, value in _scalars(record) if name == tag]
    return [value for _, value in sorted(found, key=lambda pair: pair[0])]


def last(file: Path) -> dict[str, float]:
    """The value of each tag of an event file at its highest step, and that step as ``step``. Raises
    ``FileError`` as ``scalars`` does."""
    newest: dict[str, tuple[int, float]] = {}
    for record, checksum in _records(read_bytes(file, LARGE), file):
        if len(record) < LARGEST:
            _check(record, checksum, file)
            for name, step, value in _scalars(record):
                if step >= newest.get(name, (step, 0.0))[0]:
                    newest[name] = step, value
    steps = {"step": float(max(step for step, _ in newest.values()))} if newest else {}
    return {**steps, **{name: value for name, (_, value) in newest.items()}}


def _records(data: bytes, file: Path) -> Iterator[tuple[bytes, bytes]]:
    """Records and their checksums: length (8 bytes), its checksum (4), the record, its checksum (4)."""
    at = 0
    while at + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        _check(data[at : at + 8], data[at + 8 : at + 12], file)
        begin, end = at + 12, at + 12 + length
        if end + 4 > len(data):
            return
        yield data[begin:end], data[end : end + 4]
        at = end + 4


def _check(data: bytes, checksum: bytes, file: Path) -> None:
    if struct.pack("<I", masked(data)) != checksum:
        raise FileError(f"{file} is damaged: a checksum is wrong; run the program again")


def _scalars(record: bytes) -> Iterator[tuple[str, int, float]]:
    """Tag, step and value of each number in an event."""
    event = fields(record)
    step = next((signed(value) for number, value in event if number == STEP), 0)
    for summary in (value for number, value in event if number == SUMMARY):
        for said in (dict(fields(one)) for one in all_of(summary, VALUE)):
            value = _value(said)
            if value is not None:
                yield said.get(TAG, b"").decode(errors="replace"), step, value


def _value(said: dict[int, Any]) -> float | None:
    """Of a summary: a number of its own, or a tensor of one number."""
    if SIMPLE in said:
        return _number(said[SIMPLE], double=False)
    tensor = dict(fields(said.get(TENSOR, b"")))
    if CONTENT in tensor:
        return _number(tensor[CONTENT], double=tensor.get(DTYPE) == DOUBLE)
    if DOUBLES in tensor:
        return _number(tensor[DOUBLES], double=True)
    return _number(tensor.get(FLOATS, b""), double=False)


def _number(data: bytes, *, double: bool) -> float | None:
    if len(data) != (8 if double else 4):
        return None
    return float(struct.unpack("<d" if double else "<f", data)[0])


# ---------------------------------------------------------------- the checksum


def masked(data: bytes) -> int:
    """CRC-32C (RFC 3720, appendix B.4) as TFRecord stores it: turned by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """CRC-32C of some bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _row(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = [_row(byte) for byte in range(256)]
