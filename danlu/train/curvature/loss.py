"""The loss of a run at one of its checkpoints as a function of the weights that can be differentiated twice.

L is the loss that the run reports, per term, on training examples that come next at the checkpoint. The
network is in evaluation mode: no dropout, batch norm by its running averages; penalties (a z-loss) and weight
decay are no part of L. It runs by plain operators (``danlu.nn.pure``), whose second derivatives are right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from danlu import curvature, data
from danlu.inspection.watching import outputs as outputs_of
from danlu.inspection.weighing import part
from danlu.nn import pure
from danlu.objectives import Draw, Objective
from danlu.train import store
from danlu.train.assemble import objective_of, on_meta
from danlu.train.errors import RunError
from danlu.train.evaluate import EVALUATION_UNITS
from danlu.train.load import LoadedRun, load_run
from danlu.train.parallel import ALONE
from danlu.train.state import TrainerState
from danlu.train.teacher import teach
from danlu.train.update import to_device

TYPES = {"float64": torch.float64, "float32": torch.float32}


class Curved:
    """The loss of the run in ``path`` at the checkpoint of ``step`` (None: the latest) as a function of its
    learned parameters, on the ``batches`` next batches of training.

    Raises ``RunError`` for a folder that is no run and for a step without a checkpoint.
    """

    def __init__(
        self, path: Path, step: int | None = None, *, batches: int = 1, precision: str = "float64"
    ) -> None:
        self.path, self.batches = path, batches
        # The weights themselves: gradients were never taken at an average of them.
        last = store.latest_step(path) if step is None else step
        self.run: LoadedRun = load_run(path, last, averaged=False)
        self.step, self.experiment = self.run.step, self.run.experiment
        self.to(precision)

    def to(self, precision: str) -> None:
        """Compute in ``float64`` or ``float32`` from now on."""
        self.precision, dtype = precision, TYPES[precision]
        model: Any = self.run.model
        model.to(dtype)
        model.compute = dtype
        for name, p in model.named_parameters():
            p.requires_grad_(name in self._learning)
        for name in ("hessian", "gauss_newton", "terms"):
            self.__dict__.pop(name, None)

    @cached_property
    def objective(self) -> Objective:
        """The run's objective on its data."""
        made = objective_of(self.experiment, data.prepare(self.experiment.data))
        teach(self.experiment, made, ALONE)
        return made

    @cached_property
    def _learning(self) -> set[str]:
        outline = on_meta(self.experiment, self.run.objective)
        return {name for name, p in outline.named_parameters() if p.requires_grad}

    @property
    def named(self) -> list[tuple[str, nn.Parameter]]:
        """The learned parameters with their names, in the order of a vector's numbers."""
        return [(name, p) for name, p in self.run.model.named_parameters() if name in self._learning]

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [p for _, p in self.named]

    @property
    def like(self) -> Tensor:
        """A vector of zeros."""
        return torch.zeros(sum(p.numel() for p in self.parameters), dtype=TYPES[self.precision])

    def groups(self) -> dict[str, Tensor]:
        """The places of the parameters of each part (``danlu.inspection.weighing.part``) in a vector."""
        places: dict[str, list[Tensor]] = {}
        start = 0
        for name, p in self.named:
            places.setdefault(part(name), []).append(torch.arange(start, start + p.numel()))
            start += p.numel()
        return {name: torch.cat(found) for name, found in places.items()}

    # ---------------------------------------------------------------- examples and terms

    @cached_property
    def _first(self) -> int:
        """The sample that comes next."""
        state = store.read_content(self.path, self.step)["state"]
        return TrainerState.read(state.get("position") or {}).units // self.objective.size

    @property
    def rows(self) -> int:
        """Examples in all."""
        return self.batches * self.experiment.train.batch

    def example(self, start: int, stop: int) -> dict[str, Tensor]:
        """Examples ``start`` to ``stop``, which are of one batch, numbers in the precision at hand."""
        train, batch = self.experiment.train, self.experiment.train.batch
        i = start // batch
        whole = i * batch
        draw = Draw(train.seed, self.step + i, self._first + whole, start - whole, stop - whole)
        made = to_device(self.objective.example(draw), ALONE.device)
        dtype = TYPES[self.precision]
        return {name: t.to(dtype) if t.is_floating_point() else t for name, t in made.items()}

    def passes(self) -> list[tuple[int, int]]:
        """The examples in passes, each within a batch; a whole batch where a term of the loss spans it."""
        batch = self.experiment.train.batch
        rows = batch if self.objective.group else max(1, EVALUATION_UNITS // self.objective.size)
        return [
            (start, min(start + rows, whole + batch))
            for whole in range(0, self.rows, batch)
            for start in range(whole, whole + batch, rows)
        ]

    def term(self, start: int, stop: int, of: int | None = None) -> curvature.Term:
        """The loss of some of the examples as a share of that of ``of`` examples (None: of all)."""
        example = self.example(start, stop)
        share = 1 / ((of or self.rows) * self.objective.count)

        def loss() -> Tensor:
            with pure():
                return self.objective.loss(self.run.model, example).total * share

        return loss

    @cached_property
    def terms(self) -> list[curvature.Term]:
        return [self.term(*span) for span in self.passes()]

    @cached_property
    def hessian(self) -> curvature.Hessian:
        """∇²L."""
        return curvature.Hessian(self.parameters, self.terms)

    @cached_property
    def gauss_newton(self) -> curvature.GaussNewton:
        """Of L through the network's output. Raises ``RunError`` where the loss asks the network more than
        once, or its output is no tensor."""
        return curvature.GaussNewton(self.parameters, [self.watched(term) for term in self.terms])

    def watched(self, term: curvature.Term) -> Callable[[], curvature.Outputs]:
        def outputs() -> curvature.Outputs:
            losses: list[Tensor] = []
            seen = outputs_of([self.run.model], lambda: losses.append(term()))
            if len(seen) != 1 or not isinstance(seen[0], Tensor):
                raise RunError(
                    f"{self.path} has the objective {self.experiment.objective.kind}, whose loss is not a "
                    "function of one output of the network: it has no Gauss-Newton matrix; leave it out"
                )
            return curvature.Outputs(seen[0], losses[0])

        return outputs

    def gradients(self, count: int) -> Iterator[Tensor]:
        """The gradients of the mean losses of the ``count`` next batches."""
        batch = self.experiment.train.batch
        for i in range(count):
            term = self.term(i * batch, (i + 1) * batch, batch)
            yield curvature.gradient_of(term(), self.parameters)
