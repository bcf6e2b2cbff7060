"""What several tests of the data room share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from danlu.data import Tokens, open_tokens
from danlu.data.tokens import TokenWriter


@pytest.fixture
def write_tokens(tmp_path: Path) -> Callable[..., Tokens]:
    """Writes ids as a token file and opens it."""

    def write(ids: object, vocabulary: int = 1000, name: str = "some.tokens") -> Tokens:
        with TokenWriter(tmp_path / name, vocabulary) as writer:
            writer.write(np.asarray(ids, np.int64))
        return open_tokens(tmp_path / name)

    return write
