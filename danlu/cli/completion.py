"""Words that a shell completes: ``eval "$(_DANLU_COMPLETE=source_bash danlu)"``."""

from __future__ import annotations

import os


def switch_on() -> None:
    """Let typer answer the shell, where that asks: whoever types no Tab pays nothing."""
    if "_DANLU_COMPLETE" in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()


def words(incomplete: str) -> list[str]:
    """Recipes; after a + ideas."""
    if "+" in incomplete:
        return ideas(incomplete)
    from danlu.spec import catalog

    return [name for name in catalog.names("recipes") if name.startswith(incomplete)]


def ideas(incomplete: str) -> list[str]:
    """Ideas, the last of several joined by +."""
    from danlu.spec import catalog

    before, plus, last = incomplete.rpartition("+")
    return [before + plus + name for name in catalog.names("ideas") if name.startswith(last)]


def claims(incomplete: str) -> list[str]:
    """Claims of the book."""
    from danlu.lab.claims import book

    return [name for name in book.names() if name.startswith(incomplete)]
