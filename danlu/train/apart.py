"""Updates of workers that train apart (``train.outer``): each its own, and an outer step once a round."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from danlu.nn import after_update
from danlu.nn.stacked import not_stackable
from danlu.objectives import Draw
from danlu.train import averages
from danlu.train.assemble import Assembly
from danlu.train.batched import pays, unbatched
from danlu.train.callbacks import Callback, Tensors
from danlu.train.errors import RunError
from danlu.train.folding import FOLDED
from danlu.train.precision import clip_on_device, first_non_finite, total_norm
from danlu.train.reading import Reading
from danlu.train.state import seed_of
from danlu.train.update import HELP, Update, to_device
from danlu.train.workers import Workers

if TYPE_CHECKING:
    from danlu.train.trainer import Trainer


def updates(made: Assembly, **more: Any) -> Update:
    """The updates of ``made``; ``more``: as of ``Update``."""
    return Update(made, **more) if made.experiment.train.outer is None else Apart(made, **more)


def averaged(update: Update) -> AbstractContextManager[None]:
    """Within, the network has the weights to evaluate and to save."""
    update.gather()
    return averages.averaged(update.made.rules, update.made.model)


class Apart(Update):
    """One inner update of every worker on its share of the batch: gradients of its own loss by its own
    weights, clipped by their own norm. ``reading``: the mean of their losses, and of their norms.

    The passes of small networks are those of all workers here as one (``danlu.nn.stacked``), which on a CPU
    is the same bit for bit; others have theirs one worker after another.

    ``leave_out`` leaves out the update of all workers; a round ends where it would have. Raises ``RunError``
    as ``Workers``, and where Tiger would fold gradients into a momentum that workers take in turn.
    """

    def __init__(self, made: Assembly, **more: Any) -> None:
        super().__init__(made, **more)
        if self.folding.active:
            raise made.group.once(
                RunError(f"train.outer needs the gradients of each worker, and {FOLDED}; set train.clip")
            )
        self.workers = Workers(made)
        self.stacked = more.get("loss") is None and len(self.workers.mine) > 1 and self._small()
        if self.stacked:
            self.network = self.workers.stack(made.model)
        self.grads: list[list[torch.Tensor | None]] = []  # of each worker here, by parameter
        self.norms = torch.empty(0)
        self.step = 0

    def rows(self, batch: int) -> tuple[range, int]:
        mine, _ = super().rows(batch)
        return mine, self.made.experiment.train.microbatch or batch // self.workers.count

    def _small(self) -> bool:
        """Whether the networks can be one, and are faster so."""
        experiment = self.made.experiment
        rows = experiment.train.microbatch or experiment.train.batch // self.workers.count
        batched = unbatched(experiment) is None and not_stackable(self.made.model) is None
        return batched and pays(experiment, rows)

    def gradients(self, step: int, first: int, batch: int) -> Reading:
        made, count = self.made, self.workers.count
        mine, micro = self.rows(batch)
        each, terms = batch // count, batch * made.objective.count
        self.step, self.grads = step, []
        rows = [mine[place * each : (place + 1) * each] for place in range(len(self.workers.mine))]
        totals = (self._as_one if self.stacked else self._in_turn)(step, first, rows, micro, count / terms)
        with self.part("backward"):
            norms = [total_norm([g for g in grads if g is not None]).double() for grads in self.grads]
            self.norms = torch.stack(norms)
            total = torch.zeros((), device=made.group.device)
            for one in totals:
                total = total + one
            pair = torch.stack([total.double(), self.norms.sum() / count])
            self.reading = Reading(made.group.sum(pair), terms)
        return self.reading

    def _in_turn(
        self, step: int, first: int, rows: list[range], micro: int, share: float
    ) -> Iterable[torch.Tensor]:
        """``_passes`` of each worker here on its ``rows``: the sums of the losses; sets ``grads``."""
        totals = []
        for place, worker in enumerate(self.workers.mine):
            torch.manual_seed(seed_of(self.made.experiment.train.seed, step, worker))
            with self.workers.turn(place):
                totals.append(self._passes(step, first, rows[place], micro, share))
            self.grads.append([p.grad for _, p in self.named])
            super().clear()
        return totals

    def _as_one(
        self, step: int, first: int, rows: list[range], micro: int, share: float
    ) -> Iterable[torch.Tensor]:
        """The same in passes of all workers here as one."""
        made = self.made
        totals = torch.zeros(len(rows), device=made.group.device)
        for start in range(0, len(rows[0]), micro):
            with self.part("data"):
                begins = [mine.start + start for mine in rows]
                draws = [Draw(made.experiment.train.seed, step, first, b, b + micro) for b in begins]
                parts = [made.objective.example(draw) for draw in draws]
                joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
                example = to_device(joined, made.group.device)
            with self.part("forward"):
                losses = made.objective.loss(self.network, example)
                whole = losses.minimised
            with self.part("backward"):
                (whole * share).sum().backward()
                totals = totals + losses.total.detach()
        named = dict(self.network.named_parameters())
        found = [named[name].grad for name in self.workers.names]
        self.grads = [[None if g is None else g[place] for g in found] for place in range(len(rows))]
        for p in named.values():
            p.grad = None
        return totals.unbind()

    def apply(self, step: int, read: Reading, *, count_losses: bool = False, note: str = "") -> bool:
        if not self.late:
            self.finite(step, read, note)
        for place in range(len(self.grads)):
            with self._again(place):
                if clip := self.made.experiment.train.clip:
                    clip_on_device(self._gradients(), self.norms[place], clip)
                for rule in self.made.rules:
                    self.rounding.step(rule)
                after_update(self.made.model)
        with torch.no_grad():
            self.workers.outer.after(step + 1)
        return True

    def leave_out(self) -> None:
        with torch.no_grad():
            self.workers.outer.after(self.step + 1)

    def clear(self) -> None:
        self.grads = []

    def inside(self) -> AbstractContextManager[None]:
        return self._again(0) if self.grads else self.workers.turn(0)

    def gather(self) -> None:
        with torch.no_grad():
            self.workers.outer.gather()

    def finish(self, step: int) -> None:
        """End what is open: the run ends after update ``step``."""
        with torch.no_grad():
            self.workers.outer.finish(step)

    @contextmanager
    def _again(self, place: int) -> Iterator[None]:
        """Within, weights, state and gradients are those of the ``place``-th worker here."""
        with self.workers.turn(place):
            for (_, p), grad in zip(self.named, self.grads[place], strict=True):
                p.grad = grad
            try:
                yield
            finally:
                super().clear()

    def _not_finite(self, step: int, loss: float, note: str) -> str:
        for place, worker in enumerate(self.workers.mine):
            with self._again(place):
                tensors = [(name, t) for name, p in self.named for t in (p.detach(), p.grad) if t is not None]
                if first_non_finite(tensors):
                    return f"worker {worker}: {super()._not_finite(step, loss, note)}"
        return f"step {step + 1}: the loss of a worker is {loss}; nothing was updated. {note}{HELP}"


class Rounds(Callback):
    """What rounds carry over updates; the last one is ended with the run. Where the weights were evaluated
    and then a callback ended the run, they stay those that were evaluated: an open round is given up."""

    name = "outer"

    def __init__(self, update: Apart) -> None:
        self.update, self.workers = update, update.workers
        self._tensors: Mapping[str, Mapping[str, torch.Tensor]] = {}

    def between_updates(self, run: Trainer) -> None:
        now = run.state
        if run.last and now.evaluated < now.step:
            with run.clock("optimizer"):
                self.update.finish(now.step)

    def state(self) -> dict[str, list[int]]:
        return self.workers.outer.ends

    def tensors(self) -> Tensors:
        return self.workers.tensors()

    def load_tensors(self, tensors: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        self._tensors = tensors

    def load_state(self, state: dict[str, list[int]]) -> None:
        with torch.no_grad():
            self.workers.load(self._tensors, state)
        self._tensors = {}
