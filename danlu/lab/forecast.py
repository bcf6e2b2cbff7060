"""What a study will run, counted before anything runs: for ``--dry-run`` and for whoever has a budget."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from danlu import spec
from danlu.files.numbers import in_words, power
from danlu.lab.budget import SHORT, bounded
from danlu.lab.budget import flops as flops_of

AROUND = 1.15  # what a run costs beyond its updates: evaluation, looking inside, beginning
BUSY = 0.5  # load for a core, from which on a measured speed is that of a busy machine
TO_MEASURE = "how long an update takes"  # what a first, short run is for

Speed = Callable[[], float]  # FLOP/s that updates reach


@dataclass(frozen=True)
class Alike:
    """Runs that are alike: of ``arm`` (empty: there are none), to learn ``what``; ``least`` of them and at
    ``most``. ``steps`` and ``flops`` of each (none: known when the speed is measured), or the ``seconds``
    that bound each."""

    arm: str
    what: str
    least: int
    most: int
    steps: int | None = None
    flops: float | None = None
    seconds: float | None = None

    @classmethod
    def of(
        cls, arm: str, what: str, experiment: spec.Experiment, steps: int, least: int, most: int | None = None
    ) -> Alike:
        """Of ``experiment`` for ``steps`` updates; ``most``, where it is not ``least``."""
        each = flops_of(bounded(experiment, steps))
        return cls(arm, what, least, least if most is None else most, steps, each)

    @classmethod
    def measuring(cls, arm: str, experiment: spec.Experiment) -> Alike:
        """The run that measures how long an update takes."""
        return cls.of(arm, TO_MEASURE, experiment, SHORT, 1)

    def took(self, speed: Speed) -> float:
        """About how many seconds each takes of a core or a GPU."""
        if self.seconds is not None:
            return self.seconds
        return AROUND * (self.flops or 0.0) / speed()

    def json(self) -> dict[str, Any]:
        """Its fields."""
        return {
            "arm": self.arm, "for": self.what, "runs": {"least": self.least, "most": self.most},
            "steps": self.steps, "flops": self.flops, "seconds": self.seconds,
        }  # fmt: skip


@dataclass(frozen=True)
class Forecast:
    """``asks``: what, in a sentence. ``arms``: the name of each, and what it is. ``seeds`` of what is
    compared; runs that find rates have others. ``notes``: sentences on what is not known yet."""

    asks: str
    arms: Sequence[tuple[str, str]]
    runs: Sequence[Alike]
    seeds: Sequence[int]
    notes: Sequence[str] = ()

    @property
    def counts(self) -> tuple[int, int]:
        """Runs, at least and at most."""
        return sum(one.least for one in self.runs), sum(one.most for one in self.runs)

    @property
    def flops(self) -> tuple[float, float] | None:
        """Of all runs, at least and at most; none where seconds bound them."""
        if any(one.flops is None for one in self.runs):
            return None
        return _ends((one, one.flops or 0.0) for one in self.runs)

    def seconds(self, workers: int, speed: Speed) -> tuple[float, float]:
        """About how long it takes, at least and at most, ``workers`` runs at a time."""
        low, high = _ends((one, one.took(speed)) for one in self.runs)
        return low / workers, high / workers

    def json(self, workers: int, speed: Speed) -> dict[str, Any]:
        """As JSON."""
        flops, seconds = self.flops, self.seconds(workers, speed)
        return {
            "asks": self.asks,
            "arms": [{"name": name, "is": what} for name, what in self.arms],
            "seeds": list(self.seeds),
            "parts": [one.json() for one in self.runs],
            "runs": dict(zip(("least", "most"), self.counts, strict=True)),
            "flops": None if flops is None else dict(zip(("least", "most"), flops, strict=True)),
            "seconds": {"least": round(seconds[0], 1), "most": round(seconds[1], 1)},
            "workers": workers,
            "notes": list(self.notes),
        }

    def total(self, workers: int, speed: Speed) -> list[str]:
        """What it takes together, a sentence each."""
        runs, flops, seconds = self.counts, self.flops, self.seconds(workers, speed)
        counted = "" if flops is None else f", {_between(*(power(f'{one:.2g}') for one in flops))} FLOPs"
        time = _between(*(in_words(max(1.0, one)) for one in seconds))
        cores = f"{workers} run{'s' * (workers > 1)} at a time"
        how = "" if flops is None else ", by counted FLOPs and this machine's speed now"
        told = [f"in all {_between(*map(str, runs))} runs{counted}", f"about {time}, {cores}{how}"]
        return told if flops is None else told + busy()


def speed() -> float:
    """FLOP/s that updates reach on this machine, alone on a core or a GPU: a share of what a large matrix
    product reaches, which is measured in a moment."""
    from danlu.train.compiling import EAGER
    from danlu.train.machine import ceiling, pick_device, pick_precision

    device = pick_device("auto")
    return EAGER * ceiling(device, pick_precision("auto", device))


def busy() -> list[str]:
    """That other work runs on this machine, which ``speed`` is measured beside; nothing where it is quiet, or
    where the system does not say."""
    count = os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load < BUSY * count:
        return []
    return [
        f"other work runs here (a load of {load:.1f} on {count} cores): when it is quiet, runs take less time"
    ]


def arms(
    name: str, baseline: spec.Experiment, variants: Mapping[str, spec.Experiment]
) -> list[tuple[str, str]]:
    """Of a ``Forecast``: the baseline, called ``name``, and what each variant changes of it."""
    changes = [(variant, differing(baseline, experiment)) for variant, experiment in variants.items()]
    return [(name, "the baseline"), *changes]


def differing(baseline: spec.Experiment, variant: spec.Experiment) -> str:
    """What a side changes, in words: ``model.ff.kind gelu → swiglu``."""
    from danlu.lab.reading.table import said
    from danlu.spec.replay import difference

    changes = difference(baseline, variant)
    return ", ".join(f"{field} {said(before)} → {said(after)}" for field, before, after in changes)


def _ends(each: Iterable[tuple[Alike, float]]) -> tuple[float, float]:
    known = list(each)
    return math.fsum(of * one.least for one, of in known), math.fsum(of * one.most for one, of in known)


def _between(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"
