"""Parts that any of these tests registers are gone after it."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def always(no_parts: None) -> None:
    """``no_parts``, without being asked for."""
