"""GPUs shared by memory, without a GPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.lab.queue import gpus
from danlu.lab.queue.gpus import Gpus, visible
from danlu.spec import resolve
from danlu.train.costs import costs

SAID = "0, GPU-aaaa, 1000\n1, GPU-bbbb, 3000\n2, GPU-bbcc, [N/A]\n"


def test_a_job_goes_where_most_is_left() -> None:
    shared = Gpus([100, 80])
    for job, size, expected in (("a", 60, 0), ("b", 50, 1), ("c", 40, 0)):
        assert shared.place(size) == [expected]
        shared.take(job, [expected], size)
    assert shared.place(31) is None
    assert shared.place(30) == [1]
    shared.give_back("a")
    assert shared.place(31) == [0]


def test_a_job_of_several_processes_takes_several() -> None:
    shared = Gpus([100, 80, 90])
    assert shared.place(60, 2) == [0, 2]
    shared.take("a", [0, 2], 60)
    assert shared.place(50, 2) is None and shared.place(40, 2) == [1, 0]
    assert shared.place(99, 4) is None
    shared.give_back("a")
    assert shared.place(1000, 3) == [0, 2, 1]  # where nobody is


def test_an_empty_gpu_takes_what_is_too_large_for_it() -> None:
    shared = Gpus([100, 200])
    assert shared.place(1000) == [1]
    shared.take("a", [1], 1000)
    assert shared.place(150) == [0]
    shared.take("b", [0], 150)
    assert shared.place(1) is None
    assert Gpus([]).place(1) is None


@given(
    free=st.lists(st.integers(1, 100), min_size=1, max_size=4),
    sizes=st.lists(st.integers(1, 60), max_size=20),
)
def test_what_shares_a_gpu_always_fits(free: list[int], sizes: list[int]) -> None:
    shared, held = Gpus(free), [[] for _ in free]
    for number, size in enumerate(sizes):
        found = shared.place(size)
        if found is None:
            assert all(on and sum(on) + size > room for on, room in zip(held, free, strict=True))
            continue
        (gpu,) = found
        shared.take(str(number), found, size)
        held[gpu].append(size)
        assert len(held[gpu]) == 1 or sum(held[gpu]) <= free[gpu]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [(None, [1000, 3000]), ("", []), ("1,0", [3000, 1000]), ("GPU-bbbb", [3000]), ("0,7,1", [1000])],
)
def test_the_gpus_that_pytorch_will_see(chosen: str | None, expected: list[int]) -> None:
    assert visible(SAID, chosen) == [size << 20 for size in expected]


def test_nvidia_smi_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert len(gpus.detect()) == 0
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{SAID}'\n".replace("\n1", "\\n1").replace("\n2", "\\n2"))
    os.chmod(program, 0o755)
    assert len(gpus.detect()) == 2
    program.write_text("#!/bin/sh\nexit 9\n")
    assert len(gpus.detect()) == 0


def test_the_estimate_holds_what_training_holds() -> None:
    small, large = (resolve(["nano", f"model.width={width}"]) for width in (64, 256))
    for experiment in (small, large):
        found = costs(experiment)
        n = found["parameters"]["total"]
        # weights, gradients and Adam's two moments in float32, and the activations
        assert gpus.needed(experiment).of(1) > gpus.CONTEXT + 16 * n + found["memory"]["activations"]
    assert gpus.needed(large).of(1) > gpus.needed(small).of(1)
