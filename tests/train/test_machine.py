"""Devices, precisions, and the ceiling that utilisation is a share of."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from danlu.train.errors import RunError
from danlu.train.machine import PRECISIONS, ceiling, fast_bfloat16, keep_memory, pick_device, pick_precision

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


def test_the_ceiling_is_the_best_of_several_timings(monkeypatch: pytest.MonkeyPatch) -> None:
    from danlu.train import machine

    ticks = iter([0.0, 2.0, 2.0, 2.5, 3.0, 6.0, 6.0, 7.0])
    monkeypatch.setattr(machine.time, "perf_counter", lambda: next(ticks))
    assert ceiling(CPU, "float32") == 2 * 1024 * 1024 * 2048 / 0.5


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
