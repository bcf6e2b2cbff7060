"""What this machine can do, and how long a run of each recipe will take: for ``danlu doctor``."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import danlu
from danlu.files import system
from danlu.lab.queue.executors import cores
from danlu.spec import Experiment, book
from danlu.spec.errors import DanluError
from danlu.train import compiling
from danlu.train.costs import costs
from danlu.train.machine import ceiling, pick_device, pick_precision
from danlu.train.memory import available
from danlu.train.plan import updates_of

FOR_DEVELOPERS = {"test", "docs", "oracles", "bench"}
_REQUIREMENT = re.compile(r"""([A-Za-z0-9._-]+)[^;]*;\s*extra == ["']([^"']+)["']$""")


def examine(progress: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Versions; cores, memory, disk; the device that runs take, its precision, and FLOP/s of its large
    products, measured in a moment; why nothing can be compiled, or None; the extras and what they miss; of
    each recipe that is danlu's own ``flops`` and about how many ``seconds`` (None: not known), or ``why`` it
    cannot be had here. Memory and disk in bytes."""
    device = pick_device("auto")
    precision = pick_precision("auto", device)
    progress("measuring matrix products")
    speed = ceiling(device, precision)
    own = [entry for entry in book.entries() if entry.published.year is None]
    recipes = []
    for entry in own:
        progress(f"counting {entry.name}")
        recipes.append({"name": entry.name, **_estimate(entry.experiment, speed)})
    return {
        "versions": {
            "danlu": danlu.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "system": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
        "memory": available(torch.device("cpu")),
        "disk": shutil.disk_usage(Path.cwd()).free,
        "device": device.type,
        "gpus": [_gpu(number) for number in range(torch.cuda.device_count())],
        "precision": precision,
        "flops_per_second": speed,
        "not_compiled": compiling.missing(device.type),
        "extras": extras(),
        "recipes": recipes,
    }


def _gpu(number: int) -> dict[str, Any]:
    known = torch.cuda.get_device_properties(number)
    return {"name": known.name, "memory": known.total_memory}


def _estimate(experiment: Experiment, speed: float) -> dict[str, Any]:
    try:
        found = costs(experiment)
        updates = updates_of(experiment)
    except DanluError as error:
        return {"flops": None, "seconds": None, "why": str(error)}
    if updates is None:
        return {"flops": None, "seconds": experiment.train.seconds, "why": None}
    flops = updates * experiment.train.batch * experiment.data.size * found["flops"]["training"]
    return {"flops": flops, "seconds": flops / (compiling.EAGER * speed), "why": None}


def extras() -> list[dict[str, Any]]:
    """Each extra for users, and which of its packages are ``missing``. None of them where danlu itself is not
    installed."""
    found: dict[str, list[str]] = {}
    try:
        required = metadata.requires("danlu") or []
    except metadata.PackageNotFoundError:
        required = []
    for one in filter(None, map(_REQUIREMENT.match, required)):
        package, extra = one.groups()
        if extra not in FOR_DEVELOPERS:
            found.setdefault(extra, []).extend([] if _installed(package) else [package])
    return [{"name": name, "missing": missing} for name, missing in sorted(found.items())]


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def unsupported() -> str | None:
    """What danlu cannot do on this system: a sentence, or None."""
    if system.WINDOWS:
        return system.NO_QUEUE
    return f"on a Mac runs take the CPU: {system.NO_MPS}" if system.MAC else None
