"""The experiment: one typed specification of everything that a run needs."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from danlu.spec.base import Spec
from danlu.spec.compatible import check_experiment
from danlu.spec.data import Data, Text
from danlu.spec.errors import SpecError
from danlu.spec.models import Decoder, Network
from danlu.spec.networks import Model
from danlu.spec.objectives import Causal, Objective
from danlu.spec.optim import Muon, Optimizer
from danlu.spec.outer import check_workers
from danlu.spec.schedules import Cosine, Schedule, Vary, check_vary
from danlu.spec.train import BOUNDS, Train, check_seed


class Experiment(Spec):
    """Objective, model, data, optimizer, schedule, settings of the optimizer that vary, training."""

    objective: Objective = Causal()
    model: Model = Decoder()
    data: Data = Text()
    optimizer: Optimizer = Muon()
    schedule: Schedule = Cosine()
    vary: tuple[Vary, ...] = ()
    train: Train = Train(steps=1000)

    @property
    def text(self) -> Text:
        """The data of an experiment on text. Raises ``SpecError`` for others."""
        if not isinstance(self.data, Text):
            raise SpecError(
                f"data.kind = {self.data.kind}, and this is for experiments on text: data.kind = text"
            )
        return self.data

    @property
    def unit(self) -> str:
        """What its runs are counted in: that of the data, unless the objective has one of its own."""
        return str(getattr(self.objective, "unit", self.data.unit))

    @property
    def network(self) -> Network:
        """The model of an experiment whose model is a transformer. Raises ``SpecError`` for others."""
        if not isinstance(self.model, Network):
            raise SpecError(
                f"model.kind = {self.model.kind}, and this is for transformers: model.kind = decoder"
            )
        return self.model

    def seeded(self, seed: int) -> Experiment:
        """The same with another seed. Raises ``SpecError`` for one that PyTorch does not take."""
        try:
            train = self.train.model_copy(update={"seed": check_seed(seed)})
        except ValueError as error:
            raise SpecError(f"train.seed: {error}") from None
        return self.model_copy(update={"train": train})

    def effective(self) -> dict[str, Any]:
        """What the experiment comes to: its fields, the model's given layer by layer. What no layer uses is
        left out, so that two experiments with equal networks are equal."""
        said = self.model_dump()
        for name in ("mixer", "position", "feed_forward", "pattern"):
            said["model"].pop(name, None)
        said["layers"] = self.model.used()
        return said

    @model_validator(mode="after")
    def _whole(self) -> Experiment:
        check_experiment(self)
        train = self.train
        if all(getattr(train, bound) is None for bound in BOUNDS):
            raise ValueError("nothing bounds the run; set one of train.steps, train.tokens, train.seconds")
        check_vary(self.vary, self.optimizer)
        check_workers(self)
        return self
