"""The callbacks of a run, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from danlu.train.apart import Apart, Rounds
from danlu.train.callbacks import (
    Average,
    Callback,
    Checkpoint,
    Evaluate,
    Log,
    LookInside,
    Noise,
    Precise,
    Quantize,
)
from danlu.train.errors import RunError
from danlu.train.skipping import Spikes

if TYPE_CHECKING:
    from danlu.train.trainer import Trainer


def standard(run: Trainer, own: Sequence[Callback] = ()) -> list[Callback]:
    """The callbacks of ``run`` in order, a user's ``own`` before what evaluates and saves. Raises
    ``RunError`` where one of theirs keeps a state under no name, or one that is taken."""
    taken = {"position", "scale", "clock", "processes", "quantized"}
    taken |= {one.name for one in (Average, Quantize, Precise, Spikes, Rounds)}
    for callback in own:
        if not isinstance(callback, Callback):
            raise RunError(
                f"callbacks: {callback!r} is not a callback; give instances of a subclass of danlu.Callback"
            )
        if type(callback).state is Callback.state:
            continue
        if not callback.name or callback.name in taken:
            why = "is taken" if callback.name else "says nothing"
            what = type(callback).__name__
            raise RunError(f"{what}.name = {callback.name!r} {why}; its state needs its own name")
        taken.add(callback.name)
    train = run.experiment.train
    asked: list[Callback] = [] if train.quantize is None else [Quantize(run)]
    if train.precise_bn is not None:
        asked.append(Precise(run))
    if isinstance(run.update, Apart):
        asked.append(Rounds(run.update))
    return [
        *asked,
        Spikes(run),
        LookInside(),
        Noise(run),
        Average(run),
        *own,
        Log(),
        Evaluate(),
        Checkpoint(),
    ]
