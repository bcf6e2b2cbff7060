"""Where a run stands."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass
class TrainerState:
    """Where a run stands: all that a checkpoint must carry beside tensors. Checkpoints of before danlu 0.4
    call the units ``tokens``."""

    step: int = 0
    units: int = 0  # tokens of text, or images, trained on
    seconds: float = 0.0  # of updates: what train.seconds bounds
    evaluated: int = 0  # the last step evaluated
    saved: int = 0  # the last step saved
    loss: float = math.nan  # of the last update, by term
    metric: float = math.nan  # of the last evaluation
    best: float = math.nan  # NaN: none yet
    best_step: int = 0
    ended: bool = False  # by a callback, before its bounds
    since: list[float] = field(default_factory=lambda: [0.0, 0.0])  # loss and updates since the last row

    @classmethod
    def read(cls, saved: dict[str, Any]) -> TrainerState:
        """What a checkpoint holds."""
        named = {"units" if name == "tokens" else name: value for name, value in saved.items()}
        return cls(**{one.name: named[one.name] for one in fields(cls) if one.name in named})


def seed_of(seed: int, step: int, rank: int) -> int:
    """Of PyTorch's random numbers in the update after ``step`` updates, on the stream ``rank``."""
    return hash((seed, step, rank)) & 0x7FFFFFFF
