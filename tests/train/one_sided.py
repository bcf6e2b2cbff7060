"""A run of which the second process alone finds update 21 a spike; argv: the folder, the words."""

from __future__ import annotations

import math
import sys
from pathlib import Path

from danlu.spec import resolve
from danlu.train import run
from danlu.train.callbacks import Callback
from danlu.train.reporter import Silent
from danlu.train.skipping import Spikes
from danlu.train.trainer import Trainer


class OneSided(Callback):
    def before_update(self, run: Trainer) -> None:
        (spikes,) = [one for one in run.callbacks if isinstance(one, Spikes)]
        if run.state.step == 20 and run.group.rank == 1:
            spikes.detectors["loss"].judge = lambda value: math.inf  # type: ignore[method-assign]
        elif run.state.step == 21 and run.group.rank == 1:
            del spikes.detectors["loss"].judge


if __name__ == "__main__":
    run.train(resolve(sys.argv[2:]), Path(sys.argv[1]), Silent(), callbacks=[OneSided()])
