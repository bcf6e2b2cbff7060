"""How many times as long an update of the variant takes: 1 where it cannot differ; else both sides timed in
turns by one process, while no run of the lab is carried out on this machine, with an interval; or the
sentence why it cannot be measured here now. No torch but in that process.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Protocol

from danlu import parts, spec
from danlu.code import together
from danlu.files.json import finite
from danlu.lab.errors import LabError
from danlu.lab.queue import Outcome, Queue, gpus
from danlu.lab.queue.job import torch_build
from danlu.lab.queue.places import depends_on
from danlu.lab.queue.processes import environment
from danlu.lab.queue.quiet import quiet
from danlu.lab.statistics import Interval, median_interval
from danlu.spec.replay import difference, to_yaml

TIMING = 20  # seconds in which two sides are timed in turns, with what comes before
PAIRS = 20  # of blocks; the interval of their median ratio is then from the 6th to the 15th
BLOCK = 0.2  # seconds, at least
WARM = 3  # updates before anything counts
WAITED, STOLEN = (
    0.02,
    0.01,
)  # of a block: what it may lose to other work here, or to the host, and still count
BUSY = 0.05  # of a GPU's time: what others may use of it
VOID = 0.3  # of the blocks: how many may not count
SURE = 0.02  # two timings of the same side may differ by so much
SAME = 0.01  # a ratio that surely differs from 1 by no more is none: so much may FLOPs differ, too
OFTEN = 0.3  # seconds between two looks whether a signal came
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
    def same(self) -> bool:
        """Whether the interval lies within a percent of 1."""
        return max(self.value.high - 1, 1 - self.value.low) <= SAME + 1e-9

    @property
    def differs(self) -> bool:
        """Whether the interval leaves 1 out."""
        return not self.value.low <= 1 <= self.value.high

    @property
    def settled(self) -> bool:
        """Whether it is known well enough to say what equal time is."""
        return self.known and (self.same or self.differs)

    def json(self) -> dict[str, Any]:
        """Plain values; none where it is not known."""
        return {"value": [finite(end) for end in self.value], "why": self.why}

    @classmethod
    def read(cls, record: dict[str, Any]) -> Ratio:
        return cls(Interval(*(math.nan if end is None else end for end in record["value"])), record["why"])


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
    the shares of the block for which it ``waited`` for a core, and for which the host had ``stolen`` it."""

    side: int
    seconds: float
    cpu: float
    waited: float
    stolen: float

    @property
    def void(self) -> bool:
        """Whether it lost too much of its time to count."""
        return self.waited > WAITED or self.stolen > STOLEN


def order(pairs: int) -> list[int]:
    """ABBA BAAB …: so many pairs of neighbours, in which a steady drift of the machine cancels."""
    return [(0, 1, 1, 0, 1, 0, 0, 1)[i % 8] for i in range(2 * pairs)]


def judge(blocks: Sequence[Block]) -> Ratio:
    """The ratio that the blocks of ``order`` give. It is refused where too many of them are void, and where
    two timings of the same side differ clearly or scatter by more than 2 %."""
    busy = sum(block.void for block in blocks) / len(blocks)
    if busy > VOID:
        return refused(f"{busy:.0%} of the time something else was running on this machine", blocks)
    same = [ratio for side in (0, 1) for ratio in _neighbours([b for b in blocks if b.side == side])]
    within, clearly = median_interval(same), median_interval(same, CLEARLY)
    if clearly.low > 1 or clearly.high < 1:
        return refused(f"two timings of the same differ by {abs(within.value - 1):.1%}", blocks)
    if not max(within.high - 1, 1 - within.low) <= SURE:
        return refused(f"timings of the same scatter by more than {SURE:.0%}", blocks)
    ratios = [v.seconds / b.seconds for b, v in _sided(blocks) if not (b.void or v.void)]
    return Ratio(median_interval(ratios), f"{len(ratios)} pairs, timed in turns")


def _sided(blocks: Sequence[Block]) -> list[tuple[Block, Block]]:
    """The pairs, the baseline's block first."""
    return [(a, b) if a.side == 0 else (b, a) for a, b in zip(blocks[::2], blocks[1::2], strict=True)]


def _neighbours(blocks: Sequence[Block]) -> list[float]:
    """How the blocks of one side compare two by two, in order."""
    pairs = zip(blocks[::2], blocks[1::2], strict=False)
    return [b.seconds / a.seconds for a, b in pairs if not (a.void or b.void)]


def refused(why: str, blocks: Sequence[Block] = ()) -> Ratio:
    """No ratio. Beside the reason that of processor time, where there is one: it does not count what others
    took, though it feels what they do to caches."""
    cpu = [v.cpu / b.cpu for b, v in _sided(blocks) if b.cpu]
    said = f"; by processor time the ratio is about {median(cpu):.2f}" if cpu else ""
    return Ratio(Interval(math.nan, math.nan, math.nan), f"time cannot be measured here now: {why}{said}")


# ---------------------------------------------------------------- timing


class Meter(Protocol):
    """Seconds so far: by the clock, of the processor, and of those that it did not have: waiting for a core,
    and stolen by the host of a virtual machine, as far as the system tells."""

    def now(self) -> float: ...
    def cpu(self) -> float: ...
    def waited(self) -> float: ...
    def stolen(self) -> float: ...


class Machine:
    """This process on this machine, which computes with one thread. On a GPU its own waiting says nothing."""

    def __init__(self, wait: Callable[[], None], gpu: bool) -> None:
        self._wait, self._gpu = wait, gpu  # ``wait``: until the device has done what it was told

    def now(self) -> float:
        self._wait()
        return time.perf_counter()

    def cpu(self) -> float:
        return 0.0 if self._gpu else time.process_time()

    def waited(self) -> float:
        return 0.0 if self._gpu else time.perf_counter() - time.thread_time()

    def stolen(self) -> float:
        """On average over the cores."""
        try:
            ticks = int(Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[8])
        except (OSError, ValueError, IndexError):
            return 0.0
        return ticks / os.sysconf("SC_CLK_TCK") / (os.cpu_count() or 1)


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
        start, *before = meter.now(), meter.cpu(), meter.waited(), meter.stolen()
        for _ in range(often[side]):
            updates[side]()
        took = meter.now() - start  # first: it waits for the device
        cpu, waited, stolen = meter.cpu() - before[0], meter.waited() - before[1], meter.stolen() - before[2]
        found.append(Block(side, took / often[side], cpu / often[side], waited / took, stolen / took))
    return found


def key(baseline: spec.Experiment, variant: spec.Experiment, code: str) -> str:
    """What a ratio is of, and holds for: this machine and PyTorch, both experiments, and the ``code``, a
    digest of the files that their runs depend on."""
    said = "\n".join([torch_build(), code, to_yaml(baseline), to_yaml(variant)])
    return f"{platform.node()} {hashlib.sha256(said.encode()).hexdigest()[:16]}"


class Known(NamedTuple):
    """A ratio, and the key under which it is to be remembered; None: there is nothing new to remember."""

    ratio: Ratio
    key: str | None = None


def known_or_measured(
    queue: Queue, what: str, sides: tuple[Outcome, Outcome], flops: float, before: Mapping[str, Any]
) -> Known:
    """The ratio of the ended runs of baseline and variant: by construction, as ``before`` remembers it
    (``Ratio.json`` by ``key``), or measured now. ``what`` is told to be timed."""
    baseline, variant = (side.job.experiment for side in sides)
    same = equal_by_construction(baseline, variant, flops)
    if same is not None:
        return Known(Ratio(Interval(1.0, 1.0, 1.0), same))
    code = together(depends_on(sides[0].folder) | depends_on(sides[1].folder))
    here = key(baseline, variant, code)
    if here in before:
        return Known(Ratio.read(before[here]))
    queue.say(f"timing updates of {what} in turns, some {TIMING} seconds")
    found = measure(baseline, variant, queue.check)
    return Known(found, here if found.settled else None)


def measure(
    baseline: spec.Experiment, variant: spec.Experiment, stop: Callable[[], None] = lambda: None
) -> Ratio:
    """Time both in a process of their own, while no run of the lab begins on this machine and none is under
    way. ``stop`` is called while it waits for that, and after a signal; it may raise. Raises ``LabError``
    where a signal ended that process."""
    sides = {
        "parts": parts.pack(baseline, variant),
        "sides": [one.model_dump_json() for one in (baseline, variant)],
    }
    with quiet(stop) as others:
        if others:
            return refused(f"{others} runs of other studies are under way on this machine")
        status, told, errors = _ended(json.dumps(sides), stop)
    if status < 0:
        stop()
        raise LabError("the process that times both sides was ended by a signal; the same command continues")
    if status:
        last = errors.strip().rpartition("\n")[2]
        return refused(f"the process that times both sides failed: {last or status}")
    said = json.loads(told.splitlines()[-1])
    if said["busy"] > BUSY:
        return refused(f"something else uses {said['busy']:.0%} of the GPU")
    return judge([Block(*block) for block in said["blocks"]])


def _ended(sides: str, stop: Callable[[], None]) -> tuple[int, str, str]:
    """How the process that times both sides ended, and what it wrote. ``stop`` is called again and again;
    where it raises, the process is ended."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "danlu.lab.trial.timing"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    given: str | None = sides
    try:
        while True:
            try:
                told, errors = process.communicate(given, timeout=OFTEN)
                return process.returncode, told, errors
            except subprocess.TimeoutExpired:
                given = None  # it was written
                stop()
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def main() -> None:
    """In that process: two experiments and their own parts as JSON on stdin; on stdout, as JSON, the blocks,
    and how busy the GPU was before."""
    import torch

    from danlu.train.assemble import place

    torch.set_num_threads(1)
    given = json.load(sys.stdin)
    parts.unpack(given["parts"])
    sides = [spec.Experiment.model_validate_json(one) for one in given["sides"]]
    gpu = any(place(one.train)[0] == "cuda" for one in sides)
    busy = gpus.busy() if gpu else 0.0
    meter = Machine(torch.cuda.synchronize if gpu else lambda: None, gpu)
    blocks = [] if busy > BUSY else blocks_of([_update(one) for one in sides], meter)
    print(json.dumps({"busy": busy, "blocks": blocks}))


def _update(experiment: spec.Experiment) -> Callable[[], None]:
    """Updates of the experiment, one after another. They move the weights by a hundredth of what a run does,
    so that no rate lets them diverge while they are timed."""
    import torch

    from danlu import data
    from danlu.train.apart import updates
    from danlu.train.assemble import assemble, objective_of, place
    from danlu.train.parallel import Processes
    from danlu.train.teacher import teach

    train = experiment.train
    device, precision = place(train)
    objective = objective_of(experiment, data.prepare(experiment.data))
    group = Processes(0, 1, torch.device(device))
    teach(experiment, objective, group)
    made = assemble(experiment, objective, precision, group)
    for settings in (settings for rule in made.rules for settings in rule.param_groups):
        settings["lr"] *= GENTLY
    one, steps = updates(made), count()

    def update() -> None:
        step = next(steps)
        one.apply(step, one.gradients(step, step * train.batch, train.batch))
        one.clear()

    return update


if __name__ == "__main__":
    main()
