"""What the machine can do: devices, precisions, memory, the ceiling of matrix products."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import torch
import torch.nn as nn

from danlu import spec
from danlu.spec.devices import recognised
from danlu.train.errors import RunError

if TYPE_CHECKING:
    from danlu.train.choices import Choices


def keep_memory() -> None:
    """Ask the C library to keep freed memory instead of handing it back (glibc on Linux; else nothing).

    A training step frees and takes the same tens of megabytes again and again; handed back, each page is
    mapped and zeroed anew at every step, which costs a tenth of the step at 10 M parameters (measured).
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 64 << 20)


def pick_device(wanted: str) -> torch.device:
    """The device for ``auto``, ``cpu`` or ``cuda``. Raises ``RunError`` when there is no such device."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise RunError("train.device = cuda, but PyTorch sees no GPU here; allowed: cpu, auto")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def fast_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 run in hardware, faster than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_precision(wanted: str, device: torch.device) -> str:
    """The precision of activations for ``auto``: bfloat16 where the hardware has it, else float32."""
    if wanted != "auto":
        return wanted
    return "bfloat16" if fast_bfloat16(device) else "float32"


def convolves(model: nn.Module) -> bool:
    """Whether it has convolutions of images."""
    return any(isinstance(module, nn.Conv2d) for module in model.modules())


@contextmanager
def multiplying(train: spec.Train, device: torch.device) -> Iterator[None]:
    """Within, ``device`` multiplies in float32 as ``train.products`` says: ``tf32``, else as PyTorch is set.
    Raises ``RunError`` where it has no TF32."""
    if train.products != "tf32":
        yield
        return
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0):
        why = "GPUs of compute capability 8.0 and later (Ampere) have it"
        raise RunError(f"train.products = tf32, and {device.type} here has no TF32: {why}; leave it out")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def published(device: torch.device, precision: str, products: str | None = None) -> float | None:
    """FLOP/s of matrix products that the maker of this GPU publishes, by ``danlu.spec.devices``; None where
    that is not known. With ``products`` of tf32 float32 counts as that; products in float8, which are some of
    all, count in ``precision``."""
    known = recognised(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    if known is None:
        return None
    wanted = "tf32" if (precision, products) == ("float32", "tf32") else precision
    return next((rate for name, rate in known.peak.items() if name == wanted), None)


def of_published(utilisation: float | None, choices: Choices, products: str | None) -> float | None:
    """``utilisation``, a share of the ceiling of ``choices``, as a share of what is published."""
    told = published(torch.device(choices.device), choices.precision, products)
    return None if told is None or utilisation is None else utilisation * choices.ceiling_flops / told


def ceiling(
    device: torch.device, precision: str, convolving: bool = False, products: str | None = None
) -> float:
    """FLOP/s of a large matrix product of random numbers in ``precision``, the median of some: what
    utilisation is a share of. Takes some tens of milliseconds. ``convolving``: of a convolution, where that
    is faster: a CPU has other kernels for it, which on some are twice as fast (an AMD EPYC made 98 GFLOP/s of
    matrices and 205 of images).

    Random, since a GPU draws less power on constants and is then faster than it can be in training: an H200
    made 894 TFLOP/s of zeros and 788 of random numbers. ``products``: as ``train.products``; call it within
    ``multiplying``.
    """
    dtype = PRECISIONS[precision]
    n, inner, m, repeats = (8192, 8192, 8192, 9) if device.type == "cuda" else (1024, 1024, 2048, 3)
    draw = torch.Generator(device).manual_seed(0)  # the run's own random numbers stay as they are
    a = torch.randn(n, inner, dtype=dtype, device=device, generator=draw)
    b = torch.randn(m, inner, dtype=dtype, device=device, generator=draw).t()
    of_matrices = 2 * n * inner * m / median(_seconds(lambda: torch.mm(a, b), device) for _ in range(repeats))
    if not convolving or device.type != "cpu":
        return of_matrices
    images = torch.randn(16, 64, 32, 32, dtype=dtype, generator=draw)
    kernel = torch.randn(64, 64, 3, 3, dtype=dtype, generator=draw)
    flops = 2 * images.numel() * kernel[0].numel()
    convolve = partial(torch.conv2d, images, kernel, padding=1)
    return max(of_matrices, flops / median(_seconds(convolve, device) for _ in range(repeats)))


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Of one call, on a GPU by its own clock: what the call takes of the processor does not count."""
    if device.type != "cuda":
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    before.record()
    work()
    after.record()
    after.synchronize()
    return before.elapsed_time(after) / 1e3
