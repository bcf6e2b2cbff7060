"""Parts that a test registers are gone after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from danlu.parts import sources
from danlu.spec.families import FAMILIES


@pytest.fixture(autouse=True)
def no_parts() -> Iterator[None]:
    kept = {family: dict(family.own) for family in FAMILIES.values()}
    yield
    for origin in sources.loaded():
        sources.forget(origin)
    for family, own in kept.items():
        family.own = own
