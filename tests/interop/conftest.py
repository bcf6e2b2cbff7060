"""One thread: these models are so small that a second one costs more than it saves."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(autouse=True)
def one_thread(fixed_randomness: None) -> None:
    """After the threads that every test is given."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
