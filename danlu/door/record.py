"""What a verb answers, by attribute."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


class Record:
    """A JSON object whose names are attributes: ``found.best.words``, or ``found["best"]``. What is inside is
    a ``Record`` too, a list a tuple of them. ``to_dict()`` has the whole as plain values."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> Any:
        return wrapped(self._values[name])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # asked for by copy and pickle, before there is anything
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no {name!r} here, but {', '.join(self)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and self._values == other._values

    __hash__ = None  # type: ignore[assignment]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._values})

    def __repr__(self) -> str:
        return f"<{', '.join(self)}>"

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, as ``--json`` prints them."""
        copy: dict[str, Any] = plain(self._values)
        return copy


def wrapped(value: Any) -> Any:
    """Mappings as records, at any depth."""
    if isinstance(value, Mapping):
        return Record(value)
    return tuple(map(wrapped, value)) if isinstance(value, list | tuple) else value


def plain(value: Any) -> Any:
    """What a JSON text of the value says: lists for tuples, a copy of all."""
    return json.loads(json.dumps(value, allow_nan=False))
