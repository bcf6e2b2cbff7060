"""What the machine is, and what it can do at best."""

from __future__ import annotations

import importlib
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import torch

from bench.gpu.place import Place, Row

QUERY = "name,driver_version,memory.total,power.limit,clocks.max.sm"


def rows(at: Place) -> Iterator[Row]:
    start = time.perf_counter()
    import danlu.train.run  # noqa: F401  that it can be imported here is the first question

    yield {"what": "import of danlu", "aside": True, "seconds": time.perf_counter() - start}
    yield {"what": "versions", "aside": True, "python": platform.python_version(), **versions()}
    yield {"what": "device", "name": name(at), "says": nvidia_smi(), **properties(at)}
    for kind, work, size in copies(at):
        yield {"what": f"copy, {kind}", "aside": True, "GB/s": size / 1e6 / at.milliseconds(work)}
    yield {"what": "products of matrices, TFLOP/s", **products(at)}


def versions() -> dict[str, str | int | None]:
    triton = importlib.import_module("triton").__version__ if find_spec("triton") else None
    cudnn = torch.backends.cudnn.version() if torch.version.cuda else None
    return {"torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": cudnn, "triton": triton}


def name(at: Place) -> str:
    return torch.cuda.get_device_name() if at.cuda else platform.processor() or platform.machine()


def nvidia_smi() -> str | None:
    """What the driver's own tool says of the GPU; it is only asked."""
    try:
        command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return said.strip()


def properties(at: Place) -> Row:
    """Of the GPU; ``order``: in which PyTorch tries its kernels of attention (1 flash, 2 efficient, 3 cuDNN,
    0 math)."""
    if not at.cuda:
        return {"threads": torch.get_num_threads()}
    of = torch.cuda.get_device_properties(at.device)
    order = [int(i) for i in torch._C._get_sdp_priority_order()]
    capability = f"{of.major}.{of.minor}"
    return {"capability": capability, "processors": of.multi_processor_count, "order": order}


def copies(at: Place) -> Iterator[tuple[str, Callable[[], object], int]]:
    """Kinds of copies, each with what makes one and the bytes that it moves."""
    count = at.size(1 << 30, 1 << 20)
    here = torch.empty(count, dtype=torch.uint8)
    there, other = (torch.empty(count, dtype=torch.uint8, device=at.device) for _ in range(2))
    yield "within the device, read and written", lambda: other.copy_(there), 2 * count
    yield "to the device, pageable", lambda: there.copy_(here), count
    if at.cuda:
        pinned = here.pin_memory()
        yield "to the device, pinned", lambda: there.copy_(pinned, non_blocking=True), count
        yield "from the device, pinned", lambda: pinned.copy_(there, non_blocking=True), count


def products(at: Place) -> dict[str, float]:
    """The ceilings of matrix products, as danlu measures them, in 10¹² FLOP/s by precision; and the first as
    a share of the published rate."""
    from danlu.train.machine import ceiling

    found = {precision: ceiling(at.device, precision) / 1e12 for precision in ("bfloat16", "float32")}
    if at.cuda:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        found["TF32"] = ceiling(at.device, "float32") / 1e12
        torch.set_float32_matmul_precision(before)
    published = at.published()
    return found | ({"bfloat16 of the published": found["bfloat16"] * 1e12 / published} if published else {})
