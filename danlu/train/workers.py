"""Workers that train apart, of one process or of several: weights and states of each, and what they say."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from danlu import optim
from danlu.nn.registry import build
from danlu.nn.stacked import stack
from danlu.optim.outer import Outer, Team, Weights
from danlu.train import checkpoint
from danlu.train.assemble import Assembly
from danlu.train.errors import RunError
from danlu.train.parallel import Processes, kept_buffers

Tensors = dict[str, dict[str, Tensor]]


class Workers(Team):
    """The workers of ``made``, whose rules and parameters they have in turn. Of several processes each has
    as many of them, the first ones first. Outside of ``turn`` the network has the global weights.

    Raises ``RunError`` where they cannot be shared, and for a network that learns beside its weights.
    """

    def __init__(self, made: Assembly) -> None:
        outer, self.group = made.experiment.train.outer, made.group
        assert outer is not None
        if outer.workers % self.group.count:
            raise self.group.once(
                RunError(
                    f"train.outer.workers = {outer.workers} cannot be shared among {self.group.count} "
                    "processes; allowed: as many processes as divide it"
                )
            )
        if moving := kept_buffers(made.model):
            raise self.group.once(
                RunError(
                    f"train.outer averages weights, and the network also learns {moving[0]}, which is none; "
                    "use parts without running averages, or leave train.outer out"
                )
            )
        self.rules, self.names = made.rules, [name for name, _ in made.named]
        self.parameters = [p for _, p in made.named]
        theta = [p.data for p in self.parameters]
        super().__init__(outer.workers, theta)
        each = outer.workers // self.group.count
        self.mine = range(self.group.rank * each, (self.group.rank + 1) * each)
        del self.weights[each:]
        self.states = [[copy.copy(rule.state) for rule in made.rules] for _ in self.mine]
        self.outer: Outer = build(outer, self, theta, self.names)

    @contextmanager
    def turn(self, place: int) -> Iterator[None]:
        """Within, the network and its rules have weights and state of the ``place``-th worker here."""
        theta, states = self.outer.theta, [rule.state for rule in self.rules]
        self._have(self.weights[place], self.states[place])
        try:
            yield
        finally:
            self._have(theta, states)

    def _have(self, weights: Weights, states: Sequence[Any]) -> None:
        for p, tensor in zip(self.parameters, weights, strict=True):
            p.data = tensor
        for rule, state in zip(self.rules, states, strict=True):
            rule.state = state

    def stack(self, model: nn.Module) -> nn.Module:
        """One network (``danlu.nn.stacked``) of those of the workers here, of which ``model`` is one: their
        weights are views of its from now on. Before anything else has them."""
        made = stack([copy.deepcopy(model) for _ in self.mine])
        named = dict(made.named_parameters())
        for place, weights in enumerate(self.weights):
            views = [named[name].data[place] for name in self.names]
            torch._foreach_copy_(views, weights)
            weights[:] = views
        return made

    # ---------------------------------------------------------------- what they say

    def sum(self, mine: Weights) -> Weights:
        if self.group.count == 1:
            return mine
        flat = torch.cat([t.reshape(-1) for t in mine])
        return _like(self.group.sum(flat), mine)

    def partners(self, drawn: Sequence[int], mine: list[Weights]) -> list[Weights]:
        if self.group.count == 1:
            return super().partners(drawn, mine)
        return _exchange(self.group, self.mine, drawn, mine)

    # ---------------------------------------------------------------- checkpoints

    def tensors(self) -> Tensors:
        """All but the global weights, by file and name: in the first process those of all workers."""
        theirs: dict[str, Tensor] = {}
        for place, worker in enumerate(self.mine):
            with self.turn(place):
                state = optim.state_tensors(self.rules)
            kept = self._named({"weights": self.weights[place], **self.outer.own[place]})
            kept |= {f"optimizer/{name}": tensor for name, tensor in state.items()}
            theirs |= {f"{worker}/{name}": tensor for name, tensor in kept.items()}
        if self.group.count > 1:
            found = self.group.gather({name: tensor.cpu() for name, tensor in theirs.items()})
            theirs = {name: tensor for one in found or () for name, tensor in one.items()}
        return {"outer": self._named(self.outer.shared), "workers": theirs}

    def load(self, tensors: Mapping[str, Mapping[str, Tensor]], ends: Mapping[str, list[int]]) -> None:
        """Take over what ``tensors`` and ``outer.ends`` gave."""
        self._fill(self._named(self.outer.shared), tensors.get("outer", {}))
        theirs = tensors.get("workers", {})
        for place, worker in enumerate(self.mine):
            found = {n.removeprefix(f"{worker}/"): t for n, t in theirs.items() if n.startswith(f"{worker}/")}
            state = {n.removeprefix("optimizer/"): t for n, t in found.items() if n.startswith("optimizer/")}
            own = {n: t for n, t in found.items() if not n.startswith("optimizer/")}
            self._fill(self._named({"weights": self.weights[place], **self.outer.own[place]}), own)
            with self.turn(place):
                optim.load_state_tensors(self.rules, state)
        self.outer.ends = {name: list(numbers) for name, numbers in ends.items()}

    def _named(self, tensors: Mapping[str, Weights]) -> dict[str, Tensor]:
        return {
            f"{what}/{name}": tensor
            for what, every in tensors.items()
            for name, tensor in zip(self.names, every, strict=True)
        }

    def _fill(self, own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
        checkpoint.compare(own, found, "the workers in the checkpoint")
        for name, tensor in own.items():
            tensor.copy_(found[name])


def _like(flat: Tensor, tensors: Weights) -> Weights:
    """Consecutive pieces of ``flat`` in the shapes of ``tensors``."""
    pieces = flat.split([t.numel() for t in tensors])
    return [piece.view(t.shape) for piece, t in zip(pieces, tensors, strict=True)]


def _exchange(group: Processes, here: range, drawn: Sequence[int], mine: list[Weights]) -> list[Weights]:
    """``Team.partners`` where some are in other processes: each pair sends point to point, in the order of
    their first, which is the same on both sides."""
    import torch.distributed as dist

    flat = [torch.cat([t.reshape(-1) for t in one]) for one in mine]
    got = {worker: torch.empty_like(flat[0]) for worker in here if drawn[worker] not in here}
    talk = []
    for worker in sorted(got, key=lambda worker: min(worker, drawn[worker])):
        peer = drawn[worker] // len(here)
        talk.append(dist.P2POp(dist.isend, flat[worker - here.start], peer, tag=worker))
        talk.append(dist.P2POp(dist.irecv, got[worker], peer, tag=drawn[worker]))
    for request in dist.batch_isend_irecv(talk) if talk else ():
        request.wait()
    theirs = {worker: got.get(worker) for worker in here}
    return [
        mine[drawn[worker] - here.start] if tensor is None else _like(tensor, mine[0])
        for worker, tensor in theirs.items()
    ]
