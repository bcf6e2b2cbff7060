"""What a run of points, images or coordinates makes on its way, as pictures in its folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from danlu.files.errors import FileError
from danlu.train.callbacks import Callback

if TYPE_CHECKING:
    from danlu.train.trainer import Trainer


class Show(Callback):
    """After each evaluation what the model shows, as ``danlu sample`` would of a checkpoint of this step, in
    ``samples/step-N.png`` or ``.svg``, where the objective is ``pictured``. A step's picture follows from its
    weights, so that a resumed run draws the same. A disk that takes none ends no run."""

    ends = False

    def after_evaluation(self, run: Trainer, metrics: Mapping[str, float]) -> None:
        if not run.objective.pictured or any(map(math.isnan, metrics.values())):
            return
        from danlu.train.sample_files import put  # what draws; runs on text need none of it

        model, training = run.made.wrapped, run.made.wrapped.training
        with run.clock("evaluation"), run.averaged(), run.average.in_place(), run.measured_anew():
            model.eval()
            try:
                with torch.no_grad():
                    shown = run.objective.sample(model)
            finally:
                model.train(training)
            if shown is None or not run.group.first:
                return
            try:
                put(shown, run.folder.samples, run.state.step)
            except FileError as error:
                run.reporter.message(f"warning: {error}; the run goes on without a picture of this step")
