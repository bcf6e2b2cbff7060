"""Whether a run fits into memory, asked before anything is allocated: a process that takes too much of it is
killed without a word."""

from __future__ import annotations

from pathlib import Path

import torch

from danlu import spec
from danlu.objectives import Objective
from danlu.spec.overrides import leaves
from danlu.train.assemble import SMALLER, on_meta
from danlu.train.errors import RunError

SMALL = 200_000_000  # numbers in a network that is not worth the time of counting them
OF_A_POSITION = 8 + 8  # bytes of an input and its target
OF_A_WEIGHT = 4 + 4  # bytes of a weight and its gradient; what the rule keeps comes on top
CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def check_memory(experiment: spec.Experiment, objective: Objective, device: torch.device) -> None:
    """Raises ``RunError`` where weights and gradients, a batch's numbers, or one number for each layer and
    position of a pass are alone more than there is: bounds from below, whatever else a run takes."""
    room = available(device)
    if room is None:
        return
    model, train = experiment.model, experiment.train
    layers = getattr(model, "layers", 1)
    rows, kept = train.rows, 1 if train.recompute else layers
    needed = {
        f"train.batch = {train.batch}": train.batch * objective.size * OF_A_POSITION,
        f"train.microbatch = {rows}": rows * objective.size * kept,
    }
    free = f"{room / 1e9:,.1f} GB are free"
    for said, size in needed.items():
        if size > room:
            raise RunError(f"{said} takes more than {size / 1e9:,.1f} GB of memory, and {free}; lower it")
    sizes = [value for value in leaves(model.model_dump()).values() if isinstance(value, int)]
    largest = max([*sizes, *(size for size in objective.inputs if isinstance(size, int))])
    if layers * largest**2 < SMALL:
        return
    weights = sum(p.numel() for p in on_meta(experiment, objective).parameters())
    if weights * OF_A_WEIGHT > room:
        raise RunError(
            f"the network has {weights / 1e9:,.2f} G parameters, which with their gradients take "
            f"{weights * OF_A_WEIGHT / 1e9:,.1f} GB of memory, and {free}; {SMALLER}"
        )


def available(device: torch.device) -> int | None:
    """Bytes that a process may still take; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    found = [_number(line.split()[1]) * 1024 for line in _lines("/proc/meminfo") if "MemAvailable" in line]
    found += [_number(line) for place in CGROUPS for line in _lines(place)[:1]]
    return min((size for size in found if size > 0), default=None)


def _lines(place: str) -> list[str]:
    try:
        return Path(place).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _number(text: str) -> int:
    return int(text) if text.strip().isdigit() else 0
