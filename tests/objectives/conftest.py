"""One thread: the tensors are small, and other processes may share the cores."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread(fixed_randomness: None) -> None:
    torch.set_num_threads(1)
