"""What a run measured, as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from danlu.spec.errors import DanluError


class History(Mapping[str, list[Any]]):
    """The rows of ``metrics.jsonl`` as columns: ``history["loss"]`` is a list with a value for each step that
    was logged, None where nothing was measured of that name. What several rows of one step say stands in one;
    where they differ (``seconds``), the first is kept. What was seen inside the network stands under its own
    name.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        steps: dict[int, dict[str, Any]] = {}
        for row in rows:
            flat = {name: value for name, value in row.items() if name != "inside"} | row.get("inside", {})
            steps[row["step"]] = flat | steps.get(row["step"], {})
        inside = dict.fromkeys(name for row in rows for name in row.get("inside", {}))
        plain = dict.fromkeys(name for row in rows for name in row if name != "inside")
        self._columns = {name: [one.get(name) for one in steps.values()] for name in plain | inside}

    def __getitem__(self, name: str) -> list[Any]:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        rows = len(next(iter(self._columns.values()), []))
        return f"<history of {rows} steps, {len(self)} columns>"

    def to_dict(self) -> dict[str, list[Any]]:
        """A copy as plain lists."""
        return {name: list(column) for name, column in self.items()}

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame``. Raises ``DanluError`` where pandas is not installed."""
        return _package("pandas").DataFrame(self.to_dict())

    def to_polars(self) -> Any:
        """A ``polars.DataFrame``. Raises ``DanluError`` where polars is not installed."""
        return _package("polars").DataFrame(self.to_dict(), strict=False)


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise DanluError(f"{name} is not installed: pip install {name}") from None
