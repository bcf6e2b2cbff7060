"""What came out of a study over sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from danlu.files.json import finite
from danlu.lab.across.rates import Rated
from danlu.lab.across.rungs import Rung
from danlu.lab.regime import Regime
from danlu.lab.statistics.across import Judged, Said
from danlu.lab.statistics.ahead import Way
from danlu.lab.statistics.gain import Gain
from danlu.lab.statistics.means import Interval
from danlu.lab.statistics.shrink import Shrunken
from danlu.lab.study import Study
from danlu.lab.trial.cost import Cost
from danlu.lab.trial.timing import Ratio
from danlu.spec.metrics import Metric

Verdict = Said | Literal["void"]


@dataclass(frozen=True)
class AtRung:
    """Both sides of an idea at a rung: their rates, the metric by seed (nan: diverged), FLOPs of the
    variant's run, how many times as long its update takes (None: not asked), folders of the runs by seed."""

    rung: Rung
    baseline: Rated
    variant: Rated
    seeds: tuple[int, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]
    flops: float
    time: Ratio | None = None
    runs: Mapping[int, tuple[Path, Path]] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """Plain values; what is not finite is none."""
        return {
            "rung": self.rung.json(), "baseline": self.baseline.json(), "variant": self.variant.json(),
            "pairs": [
                {"seed": seed, "baseline": finite(b), "variant": finite(v)}
                for seed, b, v in zip(self.seeds, self.before, self.after, strict=True)
            ],
            "variant_flops": self.flops, "time_ratio": None if self.time is None else self.time.json(),
        }  # fmt: skip


@dataclass(frozen=True)
class Scaled:
    """An idea over the rungs that it was run at.

    ``gains``: compute-equivalent, at equal FLOPs, by rung; ``timed``: the same at equal time, where time
    could be measured. ``verdict``: that of ``judged`` (at equal FLOPs, two rungs beyond), or void, ``why``.
    ``shrunk``: ln gain there drawn towards none by how ideas scatter. ``stopped``: the level after which it
    was not run, void or without a chance to be shown better. ``ways``: what would narrow the interval of one
    that is not shown, best first.
    """

    idea: str
    statement: str
    metric: Metric
    at: tuple[AtRung, ...]
    gains: tuple[Gain, ...]
    timed: tuple[Gain, ...]
    judged: Judged | None
    judged_time: Judged | None
    shrunk: Shrunken | None
    verdict: Verdict
    why: str
    regime: Regime | None
    stopped: int | None = None
    ways: tuple[Way, ...] = ()

    @property
    def said(self) -> str:
        """The verdict as it is printed."""
        early = self.regime is not None and self.regime.early and self.verdict != "void"
        return f"{self.verdict} (early)" if early else self.verdict

    @property
    def trials(self) -> int:
        """Tuning runs of both sides."""
        return sum(one.baseline.trials + one.variant.trials for one in self.at)

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "idea": self.idea, "statement": self.statement, "metric": self.metric.name,
            "unit": self.metric.unit, "better": self.metric.better, "verdict": self.verdict, "why": self.why,
            "regime": None if self.regime is None else self.regime.json(),
            "gain": None if self.judged is None else factor(self.judged.gain),
            "gain_at_equal_time": None if self.judged_time is None else factor(self.judged_time.gain),
            "verdict_at_equal_time": None if self.judged_time is None else self.judged_time.verdict,
            "shrunk": None if self.shrunk is None else finite(math.exp(self.shrunk.value)),
            "slope": None if self.judged is None or self.judged.slope is None else [
                finite(x) for x in self.judged.slope
            ],
            "target_flops": None if self.judged is None else math.exp(self.judged.at),
            "rungs": [
                one.json() | {
                    "gain": [None] * 3 if gain is None else factor(gain.interval()),
                    "bound": None if gain is None else gain.bound,
                    "difference": None if gain is None else finite(gain.difference),
                }
                for one, gain in zip_longest(self.at, self.gains)
            ],
            "tuning_runs": self.trials, "stopped_after": self.stopped,
            "next": [asdict(way) for way in self.ways],
        }  # fmt: skip


@dataclass(frozen=True)
class Look:
    """As far as a study had gone when it was judged."""

    rungs: int
    seeds: int


@dataclass(frozen=True)
class Across:
    """The ideas of a study over sizes. ``cost``: of all runs. ``before``: other looks at it."""

    on: str
    study: Study
    rungs: tuple[Rung, ...]
    ideas: tuple[Scaled, ...]
    cost: Cost
    look: Look
    before: tuple[Look, ...] = ()

    @property
    def metric(self) -> Metric:
        """By which the sides are compared."""
        return self.rungs[0].baseline.objective.metrics[0]

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "on": self.on, "study": str(self.study.path), "cost": self.cost.json(),
            "look": asdict(self.look), "before": [asdict(look) for look in self.before],
            "rungs": [rung.json() for rung in self.rungs],
            "ideas": [idea.json() for idea in self.ideas],
        }  # fmt: skip


def factor(gain: Interval) -> list[float | None]:
    """An interval of ln gain as factors of compute."""
    return [finite(math.exp(end)) if math.isfinite(end) and end < 700 else None for end in gain]
