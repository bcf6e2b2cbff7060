"""What every test stands on: its own cache, fixed randomness, the corpus of the field where it is at hand."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# The same examples in every run, so that what passes here passes in CI.
# ``--hypothesis-profile=search`` draws new ones.
settings.register_profile("fixed", derandomize=True)
settings.register_profile("search", max_examples=1000, deadline=None)
settings.load_profile("fixed")


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The session's own cache, for subprocesses too, so that no test touches the user's."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("DANLU_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def fixed_randomness() -> None:
    """The same seed and threads before every test, whatever ran before; never imports torch itself."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(min(2, os.cpu_count() or 1))
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_text() -> Path:
    """tinyshakespeare.txt, from the folder that $DANLU_SHARED names or from ../shared/data."""
    folder = Path(os.environ.get("DANLU_SHARED", ROOT.parent / "shared" / "data"))
    path = folder / "text" / "tinyshakespeare.txt"
    if not path.is_file():
        pytest.skip(f"{path} is absent; DANLU_SHARED names the folder that holds text/tinyshakespeare.txt")
    return path
