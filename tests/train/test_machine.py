"""Devices, precisions, and the ceiling that utilisation is a share of."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from danlu.spec import resolve
from danlu.spec.devices import device
from danlu.train import machine
from danlu.train import run as runs
from danlu.train.choices import Choices
from danlu.train.environment import environment
from danlu.train.errors import RunError
from danlu.train.machine import (
    PRECISIONS,
    ceiling,
    fast_bfloat16,
    keep_memory,
    multiplying,
    of_published,
    pick_device,
    pick_precision,
    published,
)
from danlu.train.reporter import Silent

CPU = torch.device("cpu")


def test_the_device_asked_for_or_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick_device("cpu") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == pick_device("cuda").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == CPU
    with pytest.raises(RunError, match=r"train\.device = cuda, but PyTorch sees no GPU"):
        pick_device("cuda")


@pytest.mark.parametrize("has", ["avx512_bf16", "amx_bf16", None])
def test_bfloat16_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch, has: str | None) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {has: True} if has else {})
    assert fast_bfloat16(CPU) is (has is not None)
    assert pick_precision("auto", CPU) == ("bfloat16" if has else "float32")
    for asked in PRECISIONS:
        assert pick_precision(asked, CPU) == asked


def test_the_ceiling_is_the_median_of_several_timings(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 2.0, 2.0, 2.5, 3.0, 6.0])  # 2 s, 0.5 s, 3 s
    monkeypatch.setattr(machine.time, "perf_counter", lambda: next(ticks))
    assert ceiling(CPU, "float32") == 2 * 1024 * 1024 * 2048 / 2


OF_IMAGES, OF_MATRICES = 2 * 16 * 64 * 32 * 32 * 64 * 9, 2 * 1024 * 1024 * 2048  # FLOPs


@pytest.mark.parametrize(("seconds", "flops"), [(1.0, OF_IMAGES), (8.0, OF_MATRICES / 4)])
def test_the_ceiling_of_a_network_that_convolves_is_of_what_is_faster(
    monkeypatch: pytest.MonkeyPatch, seconds: float, flops: float
) -> None:
    monkeypatch.setattr(machine, "_seconds", lambda work, _: seconds if isinstance(work, partial) else 4.0)
    assert ceiling(CPU, "float32", convolving=True) == flops
    assert ceiling(CPU, "float32") == OF_MATRICES / 4


@pytest.mark.parametrize(("recipe", "expected"), [("flow-digits", True), ("digits", False)])
def test_a_run_asks_for_the_ceiling_of_what_its_network_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recipe: str, expected: bool
) -> None:
    """A U-Net's convolutions are faster than matrices on some CPUs: beside those they were beyond 100 %."""
    pytest.importorskip("sklearn")

    def asked(device: torch.device, precision: str, convolving: bool, products: object) -> float:
        raise RunError(f"convolving = {convolving}")

    monkeypatch.setattr(runs, "ceiling", asked)
    with pytest.raises(RunError, match=f"convolving = {expected}"):
        runs.train(resolve([recipe]), tmp_path / "run", Silent())


def test_the_ceiling_is_of_random_numbers_and_takes_none_from_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[torch.Tensor] = []
    real = torch.mm
    monkeypatch.setattr(torch, "mm", lambda a, b: given.extend((a, b)) or real(a, b))
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    ceiling(CPU, "bfloat16")
    assert torch.equal(torch.rand(4), expected)
    for t in given:
        # The mean of a million standard normal numbers is within 5/1000 of 0 (five standard deviations).
        assert abs(t.float().mean()) < 5e-3 and abs(t.float().std() - 1) < 5e-3


@pytest.mark.parametrize("milliseconds", [[1.0, 4.0, 2.0, 8.0, 3.0, 7.0, 6.0, 5.0, 9.0]])
def test_on_a_gpu_the_ceiling_is_by_its_own_clock(
    monkeypatch: pytest.MonkeyPatch, milliseconds: list[float]
) -> None:
    from danlu.train import machine

    left = iter(milliseconds)

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None: ...
        def synchronize(self) -> None: ...
        def elapsed_time(self, _: Event) -> float:
            return next(left)

    device = torch.device("cuda")
    monkeypatch.setattr(machine.torch.cuda, "Event", Event)
    seconds = [machine._seconds(lambda: None, device) for _ in milliseconds]
    assert seconds == [value / 1e3 for value in milliseconds]


def test_keeping_memory_is_harmless_and_repeatable() -> None:
    """In a process of its own: it sets the allocator of the whole process."""
    code = (
        "from danlu.train.machine import keep_memory\nfor _ in range(2): keep_memory()\n"
        "import torch; print(torch.ones(1 << 22).sum().item())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, str(float(1 << 22))), done.stderr


@pytest.mark.parametrize("missing", [OSError, AttributeError])
def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch, missing: type[Exception]) -> None:
    from danlu.train import machine

    def none(_: object) -> None:
        raise missing

    monkeypatch.setattr(machine.ctypes, "CDLL", none)
    monkeypatch.setattr(machine.sys, "platform", "linux")
    keep_memory()
    monkeypatch.setattr(machine.sys, "platform", "darwin")
    keep_memory()


def test_tf32_is_set_within_a_run_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, train = torch.device("cuda"), resolve(["tiny", "train.products=tf32"]).train
    with (
        pytest.raises(RunError, match=r"train\.products = tf32, and cpu here has no TF32"),
        multiplying(train, CPU),
    ):
        pass
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.raises(RunError, match="8\\.0 and later"), multiplying(train, cuda):
        pass
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    before = environment({}, {})["settings"]["float32_precision"]
    with multiplying(train, cuda):
        assert environment({}, {})["settings"]["float32_precision"] == "high"
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"  # what the compiler asks
    assert environment({}, {})["settings"]["float32_precision"] == before == "highest"
    with multiplying(resolve("tiny").train, CPU):
        assert environment({}, {})["settings"]["float32_precision"] == before


def test_the_published_rate_is_that_of_the_device_and_its_products(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, h200 = torch.device("cuda"), device("h200")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    assert published(cuda, "bfloat16") == published(cuda, "bfloat16", "float8") == h200.rate("bfloat16")
    assert published(cuda, "float32") == h200.rate("float32") < h200.rate("tf32")
    assert published(cuda, "float32", "tf32") == h200.rate("tf32")
    choices = Choices("cuda", "bfloat16", False, {}, 0.8 * h200.rate("bfloat16"))
    assert of_published(0.5, choices, None) == pytest.approx(0.4)
    assert of_published(None, choices, None) is None
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    assert published(cuda, "bfloat16") is None and of_published(0.5, choices, None) is None
    assert published(CPU, "bfloat16") is None
