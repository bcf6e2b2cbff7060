"""One change at a time, from the earlier state on: which of them would have spared the run its spike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from statistics import median
from typing import Any

from danlu import spec
from danlu.spikes.replay import Replay, State, go
from danlu.spikes.table import Rows, spiked
from danlu.spikes.trace import Moment
from danlu.train.spikes import Detector

AFTER = 4  # updates after the spike's that must be quiet too
BETA2 = 0.95


@dataclass(frozen=True)
class Change:
    """``words``: the change as it is typed; the highest ``loss`` from where the spike began to four updates
    after its top, and its z; ``cures``: whether nothing there spikes."""

    name: str
    words: tuple[str, ...]
    loss: float
    z: float

    @property
    def cures(self) -> bool:
        return not spiked(self.z)

    def json(self) -> dict[str, Any]:
        return {"name": self.name, "words": list(self.words), "loss": self.loss, "z": self.z,
                "cures": self.cures}  # fmt: skip


def possible(experiment: spec.Experiment, precision: str, moments: Sequence[Moment]) -> dict[str, list[str]]:
    """The changes that mean something in this run, by name, in words."""
    optimizer, train = experiment.optimizer, experiment.train
    rates = {name: getattr(optimizer, name, None) for name in ("lr", "adamw_lr")}
    found = {"rate halved": [f"optimizer.{name}={rate / 2!r}" for name, rate in rates.items() if rate]}
    beta2 = getattr(optimizer, "beta2", None)
    if beta2 is not None and beta2 > BETA2:
        found["beta2"] = [f"optimizer.beta2={BETA2}"]
    norms = [m.norm for m in moments[:-1] if 0 < m.norm < float("inf")]
    if norms and (not train.clip or median(norms) / 2 < train.clip):
        found["clip"] = [f"train.clip={float(f'{median(norms) / 2:.2g}')}"]
    wide = [] if precision == "float32" else ["train.precision=float32"]
    wide += [] if train.weights == "float32" else ["train.weights=float32"]
    if wide:
        found["float32"] = wide
    return {name: words for name, words in found.items() if words}


def tried(
    replay: Replay,
    state: State,
    onset: int,
    top: int,
    usual: Detector,
    name: str,
    words: Sequence[str],
    told: Callable[[], None],
) -> Change:
    """What becomes of the spike of updates ``onset`` to ``top`` where the run goes on from ``state`` with
    ``words``: the highest loss there and up to four updates later, against what is ``usual`` of the run
    itself, so that a change that made all losses high is no cure."""
    moments = go(replay.at(state, words), top + AFTER, told)
    late = [(usual.z(m.loss), m.loss) for m in moments if m.step >= onset] or [(inf, moments[-1].loss)]
    z, loss = max(late, key=lambda one: one[0])
    return Change(name, tuple(words), loss, z)


def without_worst(rows: Rows, usual: Detector) -> Change:
    """The batch without its worst row, in the state before the spike."""
    return Change("worst document out", (), rows.without, usual.z(rows.without))
