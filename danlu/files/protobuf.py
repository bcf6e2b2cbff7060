"""The fields of a protocol buffer whose definition is not at hand: by number, as the wire holds them."""

from __future__ import annotations

from typing import Any

from danlu.files.errors import FileError

Fields = list[tuple[int, Any]]


def fields(message: bytes) -> Fields:
    """Number and value of each field: a whole number of a varint, else bytes. Raises ``FileError``."""
    found: Fields = []
    at = 0
    try:
        while at < len(message):
            key, at = _varint(message, at)
            number, kind = key >> 3, key & 7
            if kind == 0:
                value, at = _varint(message, at)
                found.append((number, value))
                continue
            size = {1: 8, 5: 4}.get(kind)
            if kind == 2:
                size, at = _varint(message, at)
            if size is None or at + size > len(message):
                raise IndexError
            found.append((number, message[at : at + size]))
            at += size
    except IndexError:
        raise FileError("a record in it is no protocol buffer; run the program again") from None
    return found


def all_of(message: bytes, number: int) -> list[Any]:
    """The values of a repeated field."""
    return [value for found, value in fields(message) if found == number]


def signed(number: int) -> int:
    """An int64 of a varint."""
    return number - (1 << 64) if number >= 1 << 63 else number


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value & ((1 << 64) - 1), at
