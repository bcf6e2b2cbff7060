"""The seeds that the referee draws are the same in every run of the tests."""

from __future__ import annotations

import random

import pytest

from danlu.lab.referee import seeds


@pytest.fixture(autouse=True)
def drawn_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeds.secrets, "randbelow", random.Random(12).randrange)
