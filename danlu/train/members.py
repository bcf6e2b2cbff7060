"""The networks of a population's members as one: gradients, steps of the rules, evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from danlu.nn import after_update
from danlu.nn.stacked import stack
from danlu.optim.base import Rule
from danlu.optim.stacked import StackedRules, along
from danlu.train.callbacks import Evaluate
from danlu.train.captured import Captured
from danlu.train.evaluate import Stopped, evaluation_rows
from danlu.train.reading import Reading
from danlu.train.trainer import Trainer
from danlu.train.update import to_device

# Where the rules of all members step as one. On a CPU, where calls cost little, PyTorch's fused kernels do it
# one member after another: they read every number once.
BATCHED = {"cuda"}


class Stacked:
    """The networks of ``trainers`` as one."""

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self.trainers = list(trainers)
        self.places = {trainer: k for k, trainer in enumerate(trainers)}
        self.model = stack([trainer.model for trainer in trainers])
        named = [dict(trainer.model.named_parameters()) for trainer in trainers]
        # Each weight of the stack that learns, and those of the members, which are views of it.
        self.weights = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self.members = {name: [own[name] for own in named] for name in self.weights}
        self.grads: dict[str, torch.Tensor] = {}
        self._graphs: dict[Any, Captured] | None = {}  # by what they are for; None: they cannot be had
        self.rules: StackedRules | None = None
        if self.trainers[0].group.device.type in BATCHED:
            self.rules = StackedRules([trainer.made.rules for trainer in trainers], self.weights)
        self._measured: dict[Trainer, dict[str, float]] | None = None  # None: not since the last update
        for trainer in trainers:
            for callback in trainer.callbacks:
                if isinstance(callback, Evaluate):
                    callback.together = self._score

    def leave(self) -> None:
        """Let the trainers know nothing of it, so that its memory is free for the next."""
        for trainer in self.trainers:
            for callback in trainer.callbacks:
                if isinstance(callback, Evaluate):
                    callback.together = None

    # ---------------------------------------------------------------- an update

    def gradients(self, working: Sequence[Trainer]) -> list[Reading]:
        """Fill the gradients of those ``working``, which are among the members and at one step; what the
        update of each would return alone (``danlu.train.update.Update.gradients``). The others' are left as
        they are, whatever is computed in their place."""
        first = working[0]
        objective, device = first.objective, first.group.device
        mine, micro = first.update.rows(first.examples)
        terms = len(mine) * objective.count
        total: torch.Tensor | float = 0.0
        for start in mine[::micro]:
            with first.clock("data"):
                made = {t: t.objective.example(t.draw(start, start + micro)) for t in working}
                rows = [made.get(trainer, made[first]) for trainer in self.trainers]
                together = {name: np.concatenate([each[name] for each in rows]) for name in rows[0]}
                example = to_device(together, device)
            with first.clock("train"):
                total = total + self._pass(first, example, terms, whole=len(mine) == micro)
        assert isinstance(total, torch.Tensor)
        with first.clock("train"):
            return self._hand_out(working, total, terms)

    def _pass(
        self, first: Trainer, example: dict[str, torch.Tensor], terms: int, whole: bool
    ) -> torch.Tensor:
        """Add the gradients of an example to those there are; the loss of each member. On a GPU, where it is
        ``whole``, all of the update, as a CUDA graph."""

        def run(example: Mapping[str, torch.Tensor]) -> torch.Tensor:
            losses = first.objective.loss(self.model, example)
            (losses.minimised.sum() / terms).backward()
            return losses.total.detach()

        if first.group.device.type != "cuda" or not whole or self._graphs is None:
            return run(example)
        key = terms, *(tensor.shape for tensor in example.values())
        if key not in self._graphs:
            try:
                self._graphs[key] = Captured(run, example, self.weights)
            except RuntimeError as error:
                self._graphs = None
                for p in self.weights.values():
                    p.grad = None  # what a pass that failed has left
                reason = str(error).strip().partition("\n")[0][:200]
                first.reporter.message(f"no CUDA graph of the population ({reason}); it goes on without one")
                return run(example)
        return self._graphs[key](example)

    def _hand_out(self, working: Sequence[Trainer], total: torch.Tensor, terms: int) -> list[Reading]:
        places = [self.places[trainer] for trainer in working]
        norms = []
        self.grads = {}
        for name, p in self.weights.items():
            if p.grad is None:
                continue
            self.grads[name], p.grad = p.grad, None
            grad = self.grads[name].flatten(1)
            wide = torch.promote_types(grad.dtype, torch.float32)
            norms.append(torch.linalg.vector_norm(grad, dim=1, dtype=wide))
            each = self.grads[name].unbind()
            for k in places:
                self.members[name][k].grad = each[k]
        # As that of a run alone, to the bit: numbers that lie side by side are added in the same order.
        norm = torch.linalg.vector_norm(torch.stack(norms, dim=1), dim=1)
        pairs = torch.stack([total.double(), norm.double()], dim=1).cpu()  # one transfer for all
        found = [Reading(pairs[k], terms) for k in places]
        for trainer, reading in zip(working, found, strict=True):
            trainer.update.reading = reading
        self._measured = None
        return found

    @torch.no_grad()
    def apply(self, going: Sequence[Trainer]) -> None:
        """Clip the gradients of those ``going`` and let their rules step, as one; the others stay."""
        assert self.rules is not None
        if not going:
            return
        with going[0].clock("optimizer"):
            goes = [False] * len(self.trainers)
            for trainer in going:
                goes[self.places[trainer]] = True
            clips = [
                trainer.update.clipping(trainer.update.reading) if one else 1.0
                for trainer, one in zip(self.trainers, goes, strict=True)
            ]
            if any(factor != 1.0 for factor in clips):
                factors = torch.tensor(clips, dtype=torch.float64).to(going[0].group.device)
                for grad in self.grads.values():
                    grad.mul_(along(factors.to(grad.dtype), grad))
            self.rules.step(self.grads, goes)
            self.grads = {}
            after_update(self.model)

    # ---------------------------------------------------------------- evaluation

    def _score(self, run: Trainer) -> dict[str, float]:
        """The held-out metrics of a member's weights: with those of all where all are as they are, else, as
        for an average of its weights, its own."""
        averages = any(type(rule).averaged is not Rule.averaged for rule in run.made.rules)
        if self._measured is None and run in self.places and not averages:
            self._measured = dict(zip(self.trainers, self._evaluate(run), strict=True))
        if self._measured is not None and run in self._measured:
            return self._measured.pop(run)
        return next(one for one in run.callbacks if isinstance(one, Evaluate)).alone(run)

    @torch.no_grad()
    def _evaluate(self, run: Trainer) -> list[dict[str, float]]:
        """The metrics of each member on the held-out examples, which are the same for all."""
        objective, held_out, members = run.objective, run.held_out, len(self.trainers)
        # Of each as many as alone, so that it is the same to the bit; on a GPU so that memory is enough.
        on_cpu = run.group.device.type == "cpu"
        rows = evaluation_rows(run.experiment, objective, members=1 if on_cpu else members)
        sums: dict[str, torch.Tensor] = {}
        self.model.eval()
        try:
            for start in range(0, held_out.count, rows):
                if run.interrupt.requested is not None:
                    raise Stopped
                made = held_out.example(range(start, min(start + rows, held_out.count)), None)
                repeated = {name: np.concatenate([part] * members) for name, part in made.items()}
                example = to_device(repeated, run.group.device)
                for name, value in objective.score(self.model, example).items():
                    sums[name] = sums[name] + value.double() if name in sums else value.double()
        finally:
            self.model.train()
        totals = torch.stack(list(sums.values()), dim=1).tolist()
        return [objective.measure(dict(zip(sums, own, strict=True))) for own in totals]
