"""What every test stands on: its own cache, fixed randomness, the corpus of the field where it is at hand."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# The tensors are small, and other workers use the other cores: where threads outnumber cores, two that wait
# for each other take six times as long as one. Processes that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
# A shell that forbids compiled files would let each process that a test starts compile danlu anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ["DANLU_LANG"] = "en"  # what is printed does not follow the locale of who runs the tests

LIMIT = 600.0  # seconds after which a process that a test started hangs, however busy the machine is

# The same examples in every run, however slow the machine is, so that what passes here passes in CI.
# ``--hypothesis-profile=search`` draws new ones.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fixed", unhurried, derandomize=True)
settings.register_profile("search", unhurried, max_examples=1000)
settings.load_profile("fixed")


def pytest_collection() -> None:
    """What is collected stays: looking for garbage among it takes a fifth of the time."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def no_wait_for_the_disk() -> Iterator[None]:
    """A test may kill its process and not the machine: what was written is there without ``fsync``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The session's own cache, for subprocesses too, so that no test touches the user's."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("DANLU_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def fixed_randomness() -> None:
    """The same seed before every test, whatever ran before, and one thread; never imports torch itself."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
        torch.manual_seed(0)


@pytest.fixture
def no_parts() -> Iterator[None]:
    """Parts that a test registers are gone after it."""
    from danlu.parts import sources

    kept = sources.snapshot()
    yield
    for origin in sources.loaded():
        sources.forget(origin)
    sources.restore(kept)


@pytest.fixture
def one_process() -> Iterator[None]:
    """A group of processes that this one alone is in."""
    import torch.distributed as dist

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture(scope="session")
def shared_text() -> Path:
    """tinyshakespeare.txt, from the folder that $DANLU_SHARED names or from ../shared/data."""
    folder = Path(os.environ.get("DANLU_SHARED", ROOT.parent / "shared" / "data"))
    path = folder / "text" / "tinyshakespeare.txt"
    if not path.is_file():
        pytest.skip(f"{path} is absent; DANLU_SHARED names the folder that holds text/tinyshakespeare.txt")
    return path
