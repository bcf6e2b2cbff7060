"""Whom a run tells how it goes. No torch here."""

from __future__ import annotations

from typing import Any, Protocol


class Reporter(Protocol):
    """Takes rows and messages of a run; the command line draws them."""

    def row(self, row: dict[str, Any], progress: float, utilisation: float | None) -> None: ...
    def message(self, text: str) -> None: ...


class Silent:
    """A reporter that says nothing."""

    def row(self, row: dict[str, Any], progress: float, utilisation: float | None) -> None: ...
    def message(self, text: str) -> None: ...
