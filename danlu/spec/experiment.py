"""The experiment: one typed specification of everything that a run needs."""

from __future__ import annotations

from pydantic import model_validator

from danlu.spec.base import Spec
from danlu.spec.data import Data
from danlu.spec.models import Decoder, Model
from danlu.spec.optim import Muon, Optimizer, Schedule
from danlu.spec.positions import Learned
from danlu.spec.train import BOUNDS, Train


class Experiment(Spec):
    """Model, data, optimizer, schedule, training."""

    model: Model = Decoder()
    data: Data = Data()
    optimizer: Optimizer = Muon()
    schedule: Schedule = Schedule()
    train: Train = Train(steps=1000)

    @model_validator(mode="after")
    def _whole(self) -> Experiment:
        context, window, position = self.data.context, self.model.mixer.window, self.model.position
        if window is not None and window > context:
            raise ValueError(
                f"model.mixer.window = {window} is longer than data.context = {context}; "
                f"allowed: 1 to {context}, or none for full attention"
            )
        if isinstance(position, Learned) and position.length is not None and position.length < context:
            raise ValueError(
                f"model.position.length = {position.length} is shorter than data.context = {context}; "
                f"allowed: {context} or more"
            )
        train = self.train
        if all(getattr(train, bound) is None for bound in BOUNDS):
            raise ValueError("nothing bounds the run; set one of train.steps, train.tokens, train.seconds")
        if train.microbatch is not None and train.batch % train.microbatch:
            raise ValueError(
                f"train.microbatch = {train.microbatch} does not divide train.batch = {train.batch}"
            )
        return self
