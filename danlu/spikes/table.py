"""Batch or state: the losses of {the batch of the spike, another} × {the state before it, an earlier one}."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from danlu.data import Tokenizer
from danlu.objectives import Language
from danlu.spikes.replay import draw_of, loss_of, row_losses
from danlu.train.spikes import FEWEST, THRESHOLD, Detector
from danlu.train.trainer import Trainer

Reading = Literal["data", "state", "both", "interaction", "not repeated"]
OTHERS = FEWEST  # batches that a loss in the earlier state is measured against
MOST_ROWS = 256  # looked at one by one, in a state


@dataclass(frozen=True)
class Cell:
    """The loss of the batch of update ``batch`` after ``state`` updates, z against what is usual there."""

    batch: int
    state: int
    loss: float
    z: float

    @property
    def spikes(self) -> bool:
        return spiked(self.z)

    def json(self) -> dict[str, Any]:
        return {"batch": self.batch, "state": self.state, "loss": self.loss, "z": self.z,
                "spikes": self.spikes}  # fmt: skip


def spiked(z: float) -> bool:
    """Whether a z is a spike's; NaN is none."""
    return z > THRESHOLD


def measured(losses: Iterable[float]) -> Detector:
    """What the next loss is measured against."""
    detector = Detector()
    for loss in losses:
        detector.judge(loss)
    return detector


def cells(trainer: Trainer, step: int, usual: Detector) -> list[Cell]:
    """The batch of update ``step``, and of the next one, which nobody has seen, where the trainer stands."""
    found = []
    for batch in (step, step + 1):
        loss = loss_of(trainer, batch)
        found.append(Cell(batch, trainer.state.step, loss, usual.z(loss)))
    return found


def others(trainer: Trainer, step: int) -> Detector:
    """What batches that come after update ``step`` + 1 cost where the trainer stands."""
    return measured(loss_of(trainer, step + 2 + i) for i in range(OTHERS))


def read(now: Sequence[Cell], before: Sequence[Cell]) -> Reading:
    """What the table says: ``data`` where the batch spikes in both states and another does not, ``state``
    where any batch spikes in the state, ``both``, or an ``interaction``: this batch in this state alone."""
    if not now[0].spikes:
        return "not repeated"
    if now[1].spikes:
        return "both" if before[0].spikes and not before[1].spikes else "state"
    return "data" if before[0].spikes else "interaction"


@dataclass(frozen=True)
class Rows:
    """The examples of the batch where the trainer stands: ``worst``, its number; its ``loss`` and z among
    those of other batches; ``high``, how many lie six deviations above; ``without``, the loss of the batch
    without the worst; ``text``, its beginning, where it is one; ``distinct``, the share of its tokens that
    differ from one another."""

    worst: int
    loss: float
    z: float
    high: int
    of: int
    without: float
    text: str | None
    distinct: float | None


def rows(trainer: Trainer, step: int) -> Rows | None:
    """None where a term of the loss spans several examples, or the batch has too many."""
    if trainer.objective.group is not None or trainer.plan.train.batch > MOST_ROWS:
        return None
    losses = row_losses(trainer, step)
    detector = Detector()
    count = 0
    while count < min(64, MOST_ROWS - len(losses)) or count < FEWEST:
        more = row_losses(trainer, step + 2 + count // len(losses))
        for loss in more:
            detector.judge(loss)
        count += len(more)
    worst = max(range(len(losses)), key=lambda i: (not math.isfinite(losses[i]), losses[i]))
    high = sum(spiked(detector.z(loss)) for loss in losses)
    rest = [loss for i, loss in enumerate(losses) if i != worst]
    text, distinct = _described(trainer, step, worst)
    without = sum(rest) / len(rest) if rest else math.nan
    return Rows(worst, losses[worst], detector.z(losses[worst]), high, len(losses), without, text, distinct)


def _described(trainer: Trainer, step: int, row: int) -> tuple[str | None, float | None]:
    objective = trainer.objective
    if not isinstance(objective, Language):
        return None, None
    example = objective.example(draw_of(trainer, step, row, row + 1))
    tokens = example["tokens"][0]
    known: Tokenizer = objective.tokenizer
    return known.decode(tokens[tokens < known.vocabulary])[:80], len(set(tokens.tolist())) / len(tokens)
