"""How many times as long an update of the variant takes: 1 where it cannot differ; else both sides timed in
turns by one process, with an interval; or the sentence why it cannot be measured here now. No torch but in
that process.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Protocol

from danlu import parts, spec
from danlu.lab.errors import LabError
from danlu.lab.queue.local import environment
from danlu.lab.statistics import Interval, median_interval
from danlu.spec.replay import difference

PAIRS = 20  # of blocks; the interval of their median ratio is then from the 6th to the 15th
BLOCK = 0.2  # seconds, at least
WARM = 3  # updates before anything counts
LOST = 0.02  # of a block: what it may lose to other work and still count
VOID = 0.3  # of the blocks: how many may not count
SURE = 0.02  # two timings of the same side may differ by so much
GENTLY = 0.01  # of each rate
CLEARLY = 0.99  # level at which they do differ


@dataclass(frozen=True)
class Ratio:
    """Seconds of an update, variant over baseline: the median and its 95 % interval, NaN where it cannot be
    measured; ``why``: how it was found, or why it was not."""

    value: Interval
    why: str

    @property
    def known(self) -> bool:
        return math.isfinite(self.value.value)

    @property
    def differs(self) -> bool:
        """Whether the interval leaves 1 out."""
        return not self.value.low <= 1 <= self.value.high

    def json(self) -> dict[str, Any]:
        return {"value": list(self.value), "why": self.why}

    @classmethod
    def read(cls, record: dict[str, Any]) -> Ratio:
        return cls(Interval(*record["value"]), record["why"])


def equal_by_construction(baseline: spec.Experiment, variant: spec.Experiment, flops: float) -> str | None:
    """Why an update of both costs the same whatever is measured; None where it may not. ``flops``: the ratio
    of the two.

    That is so where they differ in the schedule, in the seed, and in numbers that the same computation takes
    (a rate, β₂, a decay) and that are not zero on either side."""
    rows = difference(baseline, variant)
    same = all(_scalar(field, before, after) for field, before, after in rows)
    fields = ", ".join(dict.fromkeys(field for field, *_ in rows))
    return f"an update costs the same by construction, only {fields} differs" if same and flops == 1 else None


def _scalar(field: str, before: Any, after: Any) -> bool:
    if field == "train.seed" or field.split(".")[0] == "schedule":
        return True
    return isinstance(before, float) and isinstance(after, float) and before != 0 != after


# ---------------------------------------------------------------- judging what was timed


class Block(NamedTuple):
    """Some updates of one side in a row: 0, the baseline, or 1; ``seconds`` and processor time of an update;
    ``lost``: the share of the block that went to other work."""

    side: int
    seconds: float
    cpu: float
    lost: float


def order(pairs: int) -> list[int]:
    """ABBA BAAB …: so many pairs of neighbours, in which a steady drift of the machine cancels."""
    return [(0, 1, 1, 0, 1, 0, 0, 1)[i % 8] for i in range(2 * pairs)]


def judge(blocks: Sequence[Block]) -> Ratio:
    """The ratio that the blocks of ``order`` give. It is refused where too many of them lost time, and where
    two timings of the same side differ clearly or scatter by more than 2 %."""
    busy = sum(block.lost > LOST for block in blocks) / len(blocks)
    if busy > VOID:
        return _refused(blocks, f"{busy:.0%} of the time something else was running on this machine")
    same = [ratio for side in (0, 1) for ratio in _neighbours([b for b in blocks if b.side == side])]
    within, clearly = median_interval(same), median_interval(same, CLEARLY)
    if clearly.low > 1 or clearly.high < 1:
        return _refused(blocks, f"two timings of the same differ by {abs(within.value - 1):.1%}")
    if not max(within.high - 1, 1 - within.low) <= SURE:
        return _refused(blocks, f"timings of the same scatter by more than {SURE:.0%}")
    ratios = [v.seconds / b.seconds for b, v in _sided(blocks) if max(b.lost, v.lost) <= LOST]
    return Ratio(median_interval(ratios), f"{len(ratios)} pairs, timed in turns")


def _sided(blocks: Sequence[Block]) -> list[tuple[Block, Block]]:
    """The pairs, the baseline's block first."""
    return [(a, b) if a.side == 0 else (b, a) for a, b in zip(blocks[::2], blocks[1::2], strict=True)]


def _neighbours(blocks: Sequence[Block]) -> list[float]:
    """How the blocks of one side compare two by two, in order."""
    pairs = zip(blocks[::2], blocks[1::2], strict=False)
    return [b.seconds / a.seconds for a, b in pairs if max(a.lost, b.lost) <= LOST]


def _refused(blocks: Sequence[Block], why: str) -> Ratio:
    """Processor time does not count what others took, though it feels what they do to caches."""
    cpu = median(v.cpu / b.cpu for b, v in _sided(blocks)) if all(block.cpu for block in blocks) else None
    said = "" if cpu is None else f"; by processor time the ratio is about {cpu:.2f}"
    return Ratio(Interval(math.nan, math.nan, math.nan), f"time cannot be measured here now: {why}{said}")


# ---------------------------------------------------------------- timing


class Meter(Protocol):
    """``now`` and ``cpu``: seconds so far; ``lost``: of them, seconds that other work took, as far as the
    system tells."""

    def now(self) -> float: ...
    def cpu(self) -> float: ...
    def lost(self) -> float: ...


class Machine:
    """This process on this machine, which computes with one thread. On a GPU its own waiting says nothing."""

    def __init__(self, wait: Callable[[], None], gpu: bool) -> None:
        self._wait, self._gpu = wait, gpu  # ``wait``: until the device has done what it was told

    def now(self) -> float:
        self._wait()
        return time.perf_counter()

    def cpu(self) -> float:
        return 0.0 if self._gpu else time.process_time()

    def lost(self) -> float:
        waited = 0.0 if self._gpu else time.perf_counter() - time.thread_time()
        return waited + _stolen()


def _stolen() -> float:
    """Seconds for which the host of a virtual machine gave its cores to others, on average over the cores."""
    try:
        stolen = int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8])
    except (OSError, ValueError, IndexError):
        return 0.0
    return stolen / os.sysconf("SC_CLK_TCK") / (os.cpu_count() or 1)


def blocks_of(updates: Sequence[Callable[[], None]], meter: Meter, pairs: int = PAIRS) -> list[Block]:
    """Time the two updates in turns, in blocks of at least ``BLOCK`` seconds."""
    often = []
    for update in updates:
        for _ in range(WARM):
            update()
        start = meter.now()
        update()
        often.append(max(1, math.ceil(BLOCK / max(meter.now() - start, 1e-9))))
    found = []
    for side in order(pairs):
        start, cpu, lost = meter.now(), meter.cpu(), meter.lost()
        for _ in range(often[side]):
            updates[side]()
        end, cpu, lost = meter.now(), meter.cpu() - cpu, meter.lost() - lost
        found.append(Block(side, (end - start) / often[side], cpu / often[side], lost / (end - start)))
    return found


def measure(baseline: spec.Experiment, variant: spec.Experiment) -> Ratio:
    """Time both in a process of their own. Raises ``LabError`` where it fails."""
    sides = {
        "parts": parts.pack(baseline, variant),
        "sides": [one.model_dump_json() for one in (baseline, variant)],
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", "danlu.lab.trial.timing"],
        input=json.dumps(sides), capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise LabError(f"the process that times both sides failed: {last or done.returncode}")
    return judge([Block(*block) for block in json.loads(done.stdout.splitlines()[-1])])


def main() -> None:
    """In that process: two experiments and their own parts as JSON on stdin, the blocks as JSON on stdout."""
    import torch

    torch.set_num_threads(1)
    given = json.load(sys.stdin)
    parts.unpack(given["parts"])
    sides = [_update(spec.Experiment.model_validate_json(one)) for one in given["sides"]]
    gpu = any(on_gpu for _, on_gpu in sides)
    meter = Machine(torch.cuda.synchronize if gpu else lambda: None, gpu)
    print(json.dumps(blocks_of([update for update, _ in sides], meter)))


def _update(experiment: spec.Experiment) -> tuple[Callable[[], None], bool]:
    """Updates of the experiment, one after another, and whether a GPU carries them out. They move the weights
    by a hundredth of what a run does, so that no rate lets them diverge while they are timed."""
    import torch

    from danlu import data
    from danlu.train.assemble import assemble, objective_of, place
    from danlu.train.parallel import Processes
    from danlu.train.update import Update

    train = experiment.train
    device, precision = place(train)
    objective = objective_of(experiment, data.prepare(experiment.data))
    made = assemble(experiment, objective, precision, Processes(0, 1, torch.device(device)))
    for group in (group for rule in made.rules for group in rule.param_groups):
        group["lr"] *= GENTLY
    updates, steps = Update(made), count()

    def update() -> None:
        step = next(steps)
        updates.apply(step, updates.gradients(step, step * train.batch, train.batch))
        updates.clear()

    return update, device == "cuda"


if __name__ == "__main__":
    main()
