"""Parts that a test registers are gone after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from danlu.parts import sources


@pytest.fixture(autouse=True)
def no_parts() -> Iterator[None]:
    kept = sources.snapshot()
    yield
    for origin in sources.loaded():
        sources.forget(origin)
    sources.restore(kept)
