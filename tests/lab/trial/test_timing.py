"""The ratio of two updates' seconds: of blocks written by hand, of a clock that stands still but for what is
added to it. Nothing here is timed."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from danlu import spec
from danlu.lab.errors import LabError
from danlu.lab.statistics import Interval
from danlu.lab.trial import timing
from danlu.lab.trial.timing import BLOCK, PAIRS, Block, Ratio, blocks_of, equal_by_construction, judge, order


def blocks(
    ratio: float, scatter: float = 0.0, waited: float = 0.0, stolen: float = 0.0, drift: float = 0.0
) -> list[Block]:
    """As if timed: the variant ``ratio`` times as slow, seconds that scatter, shares of every block that were
    ``waited`` or ``stolen``, and a machine that grows slower by ``drift`` from the first to the last."""
    draw = np.random.default_rng(0)
    found = []
    for i, side in enumerate(order(PAIRS)):
        seconds = ratio**side * (1 + drift * i / (2 * PAIRS)) * math.exp(scatter * draw.standard_normal())
        found.append(Block(side, seconds, 0.9 * ratio**side, waited, stolen))
    return found


def test_each_side_comes_first_as_often_as_the_other() -> None:
    assert order(4) == [0, 1, 1, 0, 1, 0, 0, 1]
    whole = order(PAIRS)
    assert len(whole) == 2 * PAIRS and sum(whole) == PAIRS
    assert all(a != b for a, b in zip(whole[::2], whole[1::2], strict=True))
    assert sum(whole[::2]) == PAIRS / 2


def test_a_planted_ratio_is_found_through_noise_and_drift() -> None:
    for ratio in (1.0, 1.03, 0.5, 3.0):
        exact = judge(blocks(ratio))
        assert exact.value == pytest.approx((ratio, ratio, ratio)) and exact.known
        noisy = judge(blocks(ratio, scatter=0.005, drift=0.02))
        assert noisy.known and noisy.value.low <= ratio <= noisy.value.high
        assert noisy.value.high / noisy.value.low < 1.02
    assert judge(blocks(1.03, scatter=0.005)).differs and not judge(blocks(1.0, scatter=0.005)).differs


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (blocks(1.2, waited=0.021), "100% of the time something else was running"),
        (blocks(1.2, stolen=0.011), "100% of the time something else was running"),
        (blocks(1.2, scatter=0.1), "scatter by more than 2%"),
        (blocks(1.2, drift=1.0), "two timings of the same differ by"),
    ],
)
def test_where_it_cannot_be_measured_it_is_refused(made: list[Block], why: str) -> None:
    found = judge(made)
    assert not found.known and found.why.startswith("time cannot be measured here now: ") and why in found.why
    assert found.why.endswith("by processor time the ratio is about 1.20")


def test_some_blocks_that_lost_time_are_left_out() -> None:
    made = blocks(1.5)
    for i in range(0, len(made), 4):  # a quarter of them, each twice as slow for it
        made[i] = made[i]._replace(seconds=2 * made[i].seconds, waited=0.5)
    assert judge(made).value == pytest.approx((1.5, 1.5, 1.5))


def test_what_settles_equal_time() -> None:
    for low, high, settled, same in (
        (0.995, 1.008, True, True),  # the same to a percent
        (1.003, 1.009, True, True),  # so little is no difference, though it is clear
        (1.02, 1.04, True, False),  # clearly other
        (0.99, 1.03, False, False),  # neither: it is not known how long the runs should be
    ):
        ratio = Ratio(Interval((low + high) / 2, low, high), "a test")
        assert (ratio.settled, ratio.same) == (settled, same)
    assert not timing.refused("a test").settled


class Still:
    """A clock that stands still but for what updates add to it, of which ``waited`` and ``stolen`` are the
    shares that other work took."""

    def __init__(self, waited: float = 0.0, stolen: float = 0.0) -> None:
        self.time, self.shares = 0.0, (waited, stolen)

    def update(self, seconds: float) -> Callable[[], None]:
        def carry_out() -> None:
            self.time += seconds

        return carry_out

    def now(self) -> float:
        return self.time

    def cpu(self) -> float:
        return self.time / 2

    def waited(self) -> float:
        return self.time * self.shares[0]

    def stolen(self) -> float:
        return self.time * self.shares[1]


def test_planted_three_percent_are_found_and_a_busy_machine_is_refused() -> None:
    """From updates to the ratio: exact, as the clock is."""

    def timed(clock: Still) -> Ratio:
        return judge(blocks_of([clock.update(0.01), clock.update(0.0103)], clock))

    found = timed(Still())
    assert found.value == pytest.approx((1.03, 1.03, 1.03)) and found.differs and not found.same
    assert timed(Still(waited=0.019, stolen=0.009)).value == pytest.approx((1.03, 1.03, 1.03))
    for busy in (Still(waited=0.03), Still(stolen=0.02)):
        refused = timed(busy)
        assert not refused.known and "something else was running on this machine" in refused.why
        assert refused.why.endswith("by processor time the ratio is about 1.03")


def test_blocks_are_long_enough_and_say_what_an_update_took() -> None:
    clock = Still(waited=0.25, stolen=0.125)
    calls = {0: 0, 1: 0}

    def counted(side: int, seconds: float) -> Callable[[], None]:
        update = clock.update(seconds)

        def carry_out() -> None:
            calls[side] += 1
            update()

        return carry_out

    found = blocks_of([counted(0, 0.06), counted(1, 0.5)], clock)
    assert [block.side for block in found] == order(PAIRS)
    assert calls == {0: timing.WARM + 1 + 4 * PAIRS, 1: timing.WARM + 1 + PAIRS}  # 4 · 0.06 s ≥ BLOCK
    assert 4 * 0.06 >= BLOCK > 3 * 0.06
    for block in found:
        assert block[1:] == pytest.approx(((0.06, 0.5)[block.side], (0.03, 0.25)[block.side], 0.25, 0.125))


@pytest.mark.parametrize(
    ("words", "same"),
    [
        ("optimizer.beta2=0.99", "only optimizer.beta2 differs"),
        ("optimizer.lr=1e-3 schedule=constant train.seed=5", "optimizer.lr, schedule"),
        ("model.norm.eps=1e-6", "only model.norm.eps differs"),
        ("optimizer.weight_decay=0.0", None),  # a term less
        ("optimizer.steps=3", None),  # of Newton and Schulz: shorter
        ("model.layers=2", None),
        ("qk-norm", None),
        ("train.clip=0.0", None),
    ],
)
def test_equal_by_construction(words: str, same: str | None) -> None:
    on = ["nano", *(["optimizer=muon"] if "steps" in words else [])]
    baseline = spec.resolve(on)
    variant = spec.resolve([*on, *(f"+{w}" if "=" not in w else w for w in words.split())])
    found = equal_by_construction(baseline, variant, 1.0)
    assert (found is None) == (same is None) and (same is None or same in str(found))
    assert equal_by_construction(baseline, variant, 1.01) is None  # FLOPs differ


def test_a_ratio_is_kept_as_json() -> None:
    found = judge(blocks(1.5))
    assert Ratio.read(json.loads(json.dumps(found.json()))) == found
    unknown = judge([block._replace(waited=0.5) for block in blocks(1.5)])
    kept = json.loads(json.dumps(unknown.json(), allow_nan=False))
    assert not unknown.known and kept["value"] == [None] * 3 and not Ratio.read(kept).known


@contextmanager
def others(count: int) -> Iterator[int]:
    yield count


@pytest.mark.parametrize(
    ("beside", "status", "said", "why"),
    [
        (2, 0, "", "2 runs of other studies are under way on this machine"),
        (0, 1, "torch.OutOfMemoryError: CUDA out of memory", "failed: torch.OutOfMemoryError"),
        (0, 0, '{"busy": 0.4, "blocks": []}', "something else uses 40% of the GPU"),
        (0, 0, json.dumps({"busy": 0.0, "blocks": blocks(1.5)}), "20 pairs, timed in turns"),
    ],
)
def test_what_the_other_process_says(
    beside: int, status: int, said: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "quiet", lambda stop: others(beside))
    monkeypatch.setattr(timing, "_ended", lambda *_: (status, said, f"Traceback\n{said}\n"))
    nano = spec.resolve("nano")
    found = timing.measure(nano, nano)
    assert why in found.why and found.known == ("pairs" in why)


def test_a_signal_ends_the_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_ended", lambda *_: (-2, "", ""))
    with pytest.raises(LabError, match="ended by a signal; the same command continues"):
        timing.measure(spec.resolve("nano"), spec.resolve("nano"))


def test_who_is_told_to_stop_while_it_times_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that came to the study alone: its process that times is ended."""
    started = []

    class Process(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, command: list[str], **how: Any) -> None:
            super().__init__([sys.executable, "-c", "import sys; sys.stdin.read()\nwhile True: pass"], **how)
            started.append(self)

    def stop() -> None:
        raise InterruptedError

    monkeypatch.setattr(subprocess, "Popen", Process)
    with pytest.raises(InterruptedError):
        timing._ended("{}", stop)
    assert started[0].returncode == -signal.SIGKILL


@pytest.mark.slow
def test_for_real() -> None:
    """In a process of its own: whatever this machine does beside, there is an answer; four times the layers
    are slower by any clock."""
    small = spec.resolve(["nano", "train.batch=4", "model.layers=1"])
    found = timing.measure(small, spec.resolve(["nano", "train.batch=4", "model.layers=4"]))
    ratio = found.value.low if found.known else float(found.why.rpartition(" ")[2])
    assert ratio > 1
