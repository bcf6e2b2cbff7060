"""Processes that torchrun starts again agree on a name that the dead did not have."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from torch.distributed import TCPStore

from danlu.train.meeting import agree, store

PATIENCE = timedelta(seconds=60)


@pytest.fixture
def server() -> TCPStore:
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=PATIENCE)


def client(server: TCPStore) -> TCPStore:
    return TCPStore("127.0.0.1", server.port, is_master=False, timeout=PATIENCE)


def met(server: TCPStore, count: int, order: list[int]) -> str:
    """The name that ``count`` processes agree on, which come in this ``order``, each after the last has
    written something or is waiting."""
    with ThreadPoolExecutor(count) as pool:
        names = [pool.submit(agree, client(server), rank, count) for rank in order]
        (name,) = {one.result(timeout=60) for one in names}
    return name


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0, 2]])
def test_each_start_has_a_name_of_its_own(server, order):
    names = [met(server, count, [rank for rank in order if rank < count]) for count in (3, 3, 2, 3, 1)]
    assert len(set(names)) == len(names)


@pytest.mark.slow
def test_what_a_start_that_failed_has_left_is_not_taken(server):
    """One died before the first offered; one after it had answered; the first after its offer."""
    server.set("danlu/mark/1", "dead")
    server.set("danlu/mark/2", "dead too")
    server.set("danlu/offer", '{"name": "old", "marks": {"1": "dead", "2": "dead too"}}')
    server.set("danlu/old/answer/1", "1")
    server.set("danlu/old/answer/2", "1")
    server.set("danlu/old/holds", "1")
    assert met(server, 3, [0, 1, 2]) != "old"


def test_the_first_that_read_a_dead_mark_offers_again(server):
    server.set("danlu/mark/1", "dead")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(agree, client(server), 0, 2)
        server.wait(["danlu/offer"])  # for the dead
        other = pool.submit(agree, client(server), 1, 2)
        assert first.result(timeout=60) == other.result(timeout=60)


def test_only_torchruns_own_store_is_in_question(monkeypatch, server):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(server.port))
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    assert store(0, 1, PATIENCE) is None
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    server.set("key", "of an earlier start")
    own = store(0, 1, PATIENCE)
    assert own is not None and not own.check(["key"])
