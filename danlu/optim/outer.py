"""Outer steps: what is made, once a round, of the weights of workers that train apart (DiLoCo and its kin).

Everything here is in place on lists of tensors, one for each parameter. A ``Team`` has the workers' weights
and lets them talk; an ``Outer`` moves the global weights and those of the workers. Where the sources leave
something open, the docstring says which form is taken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from danlu import spec
from danlu.nn.registry import builds
from danlu.optim.few_bits import LEVELS

Weights = list[Tensor]


class Team:
    """The ``count`` workers of a run: ``mine`` are those of this process, ``weights`` theirs, by parameter.
    This one is of a single process, which has them all."""

    def __init__(self, count: int, theta: Weights) -> None:
        self.count = count
        self.mine = range(count)
        self.weights = [copied(theta) for _ in self.mine]

    def sum(self, mine: Weights) -> Weights:
        """The sum over all processes of what each gives (in place)."""
        return mine

    def partners(self, drawn: Sequence[int], mine: list[Weights]) -> list[Weights]:
        """For each worker of this process what its partner gives; ``drawn``: the partner of every worker."""
        return [mine[drawn[worker]] for worker in self.mine]

    def mean(self, mine: list[Weights]) -> Weights:
        """The mean over all workers, by parameter."""
        total = copied(mine[0])
        for other in mine[1:]:
            torch._foreach_add_(total, other)
        total = self.sum(total)
        torch._foreach_div_(total, self.count)
        return total


def copied(tensors: Weights) -> Weights:
    """Copies that share no memory."""
    return [t.detach().clone() for t in tensors]


def nesterov(theta: Weights, velocity: Weights, delta: Weights, lr: float, momentum: float) -> None:
    """v ← μv + Δ; θ ← θ − η(Δ + μv): ``torch.optim.SGD(nesterov=True)`` with Δ for the gradient, not heavy
    ball, which other code has under this name. The first step is η(1 + μ)Δ."""
    torch._foreach_mul_(velocity, momentum)
    torch._foreach_add_(velocity, delta)
    torch._foreach_add_(theta, delta, alpha=-lr)
    torch._foreach_add_(theta, velocity, alpha=-lr * momentum)


class Outer:
    """Base class: when a round ends, and what is kept over rounds.

    Args: ``team``, the workers; ``theta``, the global weights, changed in place; ``names``, the parameters'.
    The rest are the fields of ``danlu.spec.Rounds``.

    ``shared``: tensors that are alike in all processes, and ``own``, one for each worker of this process, by
    name: together with the weights all that a checkpoint must hold; ``ends``: the same of numbers, by name,
    as JSON.
    """

    def __init__(
        self, team: Team, theta: Weights, names: Sequence[str], *, workers: int, every: int, lr: float,
        momentum: float,
    ) -> None:  # fmt: skip
        self.team, self.theta, self.names = team, theta, names
        self.workers, self.every, self.lr, self.momentum = workers, every, lr, momentum
        self.shared: dict[str, Weights] = {}
        self.own: list[dict[str, Weights]] = [{} for _ in team.mine]
        self.ends: dict[str, list[int]] = {"synced": [0]}  # the update after which a round ended last

    def after(self, step: int) -> None:
        """After ``step`` inner updates, all workers having made theirs: what is due."""
        if step % self.every == 0:
            self.round(step)
            self.ends["synced"] = [step]

    def round(self, step: int) -> None:
        """A round ends."""
        raise NotImplementedError

    def finish(self, step: int) -> None:
        """The run ends: what is on its way arrives, and rounds that are open end by a plain mean of the
        workers' weights, since an outer step's momentum is that of a whole round. Once more does nothing."""
        raise NotImplementedError

    def gather(self) -> None:
        """Let ``theta`` be the weights to evaluate and to save. For most kinds it is."""


@builds(spec.DiLoCo)
class DiLoCo(Outer):
    """DiLoCo, streaming, with delay, with few bits: see ``danlu.spec.DiLoCo``.

    Fragment p is sent after the updates t ≡ p·H/P (rounded down) modulo H, and arrives ``delay`` updates
    later: v ← μv + Δ, θ ← θ − η(Δ + μv), of the workers θₘ ← αθₘ + (1 − α)θ (arXiv:2501.18512).
    Strided, as there: block i is of fragment i mod P; what is outside of the blocks goes with fragment 0,
    which is the form taken here. Differences are summed in full precision.

    With error feedback a worker sends Q(e) of e ← βe + Δ and keeps e ← e − Q(e), as the authors' code of
    MuLoCo does (which has ηΔ there and rounds the mean again: neither is done here, and norms are rounded
    like all else). What is kept when the run ends is given up, as in that code.
    """

    def __init__(
        self, team: Team, theta: Weights, names: Sequence[str], *, fragments: int = 1, delay: int = 0,
        mix: float = 0.0, bits: int | None = None, levels: str = "powers", feedback: float = 0.0, **more: Any,
    ) -> None:  # fmt: skip
        super().__init__(team, theta, names, **more)
        self.fragments, self.delay, self.mix, self.bits = fragments, delay, mix, bits
        self.rounded, self.feedback = LEVELS[levels], feedback
        for own in self.own if feedback else ():
            own["error"] = [torch.zeros_like(t) for t in theta]
        self.places = places(names, fragments)
        self.shared = {"velocity": [torch.zeros_like(t) for t in theta]}
        if delay:
            self.shared["sent"] = [torch.zeros_like(t) for t in theta]
        self.ends = {"synced": [0] * fragments, "awaited": [0] * fragments}

    def after(self, step: int) -> None:
        for fragment, places in enumerate(self.places):
            if step % self.every == fragment * self.every // self.fragments:
                delta = self.difference(places)
                self.ends["synced"][fragment] = step
                if not self.delay:
                    self.arrive(places, delta)
                    continue
                torch._foreach_copy_(self.at(self.shared["sent"], places), delta)
                self.ends["awaited"][fragment] = step + self.delay
            elif self.ends["awaited"][fragment] == step:
                self.receive(fragment)

    def difference(self, places: list[int]) -> Weights:
        """Δ = θ − mean θₘ of a fragment, each worker's rounded before the mean."""
        theta = self.at(self.theta, places)
        each = [list(torch._foreach_sub(theta, self.at(weights, places))) for weights in self.team.weights]
        if self.bits is not None:
            each = [self.short(*pair, places) for pair in zip(each, self.own, strict=True)]
        return self.team.mean(each)

    def short(self, delta: Weights, own: dict[str, Weights], places: list[int]) -> Weights:
        """What a worker sends of ``delta``, in few bits."""
        assert self.bits is not None
        if not self.feedback:
            return [self.rounded(t, self.bits) for t in delta]
        error = self.at(own["error"], places)
        torch._foreach_mul_(error, self.feedback)
        torch._foreach_add_(error, delta)
        found = [self.rounded(t, self.bits) for t in error]
        torch._foreach_sub_(error, found)
        return found

    def receive(self, fragment: int) -> None:
        """What was sent arrives."""
        places = self.places[fragment]
        self.arrive(places, self.at(self.shared["sent"], places))
        self.ends["awaited"][fragment] = 0

    def arrive(self, places: list[int], delta: Weights) -> None:
        theta = self.at(self.theta, places)
        nesterov(theta, self.at(self.shared["velocity"], places), delta, self.lr, self.momentum)
        for weights in self.team.weights:
            mine = self.at(weights, places)
            if self.mix:
                torch._foreach_lerp_(mine, theta, 1 - self.mix)
            else:
                torch._foreach_copy_(mine, theta)

    def finish(self, step: int) -> None:
        for fragment, places in enumerate(self.places):
            if self.ends["awaited"][fragment]:
                self.receive(fragment)
            if self.ends["synced"][fragment] < step:
                self.ends["synced"][fragment] = step
                mean = self.team.mean([self.at(weights, places) for weights in self.team.weights])
                for weights in (self.theta, *self.team.weights):
                    torch._foreach_copy_(self.at(weights, places), mean)

    @staticmethod
    def at(tensors: Weights, places: list[int]) -> Weights:
        return [tensors[place] for place in places]


def places(names: Sequence[str], fragments: int) -> list[list[int]]:
    """Which parameters each fragment has, by their places among ``names``."""
    found: list[list[int]] = [[] for _ in range(fragments)]
    for place, name in enumerate(names):
        block = re.search(r"(?:^|\.)blocks\.(\d+)\.", name)
        found[int(block[1]) % fragments if block else 0].append(place)
    return found


class Separate(Outer):
    """Kinds in which each worker has slow weights φₘ and a velocity of its own; the global weights are the
    mean of the slow ones, taken when they are looked at."""

    stale = False  # theta is that of an earlier round

    def __init__(self, team: Team, theta: Weights, names: Sequence[str], **more: Any) -> None:
        super().__init__(team, theta, names, **more)
        for own in self.own:
            own |= {"slow": copied(theta), "velocity": [torch.zeros_like(t) for t in theta]}

    def after(self, step: int) -> None:
        if step % self.every == 0:
            self.stale = True
        super().after(step)

    def changes(self) -> list[Weights]:
        """θₘ − φₘ of each worker of this process."""
        pairs = zip(self.team.weights, self.own, strict=True)
        return [list(torch._foreach_sub(weights, own["slow"])) for weights, own in pairs]

    def go_on(self) -> None:
        """Let the workers go on from their slow weights."""
        for weights, own in zip(self.team.weights, self.own, strict=True):
            torch._foreach_copy_(weights, own["slow"])

    def finish(self, step: int) -> None:
        if self.ends["synced"] != [step]:
            for weights, own in zip(self.team.weights, self.own, strict=True):
                torch._foreach_copy_(own["slow"], weights)
            self.ends["synced"], self.stale = [step], True

    def gather(self) -> None:
        if self.stale:
            torch._foreach_copy_(self.theta, self.team.mean([own["slow"] for own in self.own]))
            self.stale = False


@builds(spec.Eager)
class Eager(Separate):
    """Eager updates: Δ̃ₘ = Δₘ/M + (Δ̄′ − Δ′ₘ/M), of this round the worker's own difference, of the round
    before those of the others; then DiLoCo's outer step on its own slow weights and velocity.

    In the first round nothing of the others has come, which counts as 0, and when the run ends what is still
    on its way is taken as if it had come in time: so each difference counts once. Both are the form taken
    here. With one worker it is DiLoCo.
    """

    def __init__(self, team: Team, theta: Weights, names: Sequence[str], **more: Any) -> None:
        super().__init__(team, theta, names, **more)
        self.shared = {"sent": [torch.zeros_like(t) for t in theta]}
        for own in self.own:
            own["sent"] = [torch.zeros_like(t) for t in theta]

    def others(self, own: dict[str, Weights]) -> Weights:
        """Δ̄′ − Δ′ₘ/M."""
        return list(torch._foreach_sub(self.shared["sent"], own["sent"], alpha=1 / self.workers))

    def round(self, step: int) -> None:
        changes = self.changes()
        for own, change in zip(self.own, changes, strict=True):
            delta = self.others(own)
            torch._foreach_sub_(delta, change, alpha=1 / self.workers)
            nesterov(own["slow"], own["velocity"], delta, self.lr, self.momentum)
            torch._foreach_copy_(own["sent"], torch._foreach_neg(change))
        torch._foreach_copy_(self.shared["sent"], self.team.mean([own["sent"] for own in self.own]))
        self.go_on()

    def finish(self, step: int) -> None:
        for own, weights in zip(self.own, self.team.weights, strict=True):
            rest = self.others(own)
            torch._foreach_add_(own["velocity"], rest)
            for moved in (own["slow"], weights):
                torch._foreach_add_(moved, rest, alpha=-self.lr * (1 + self.momentum))
            torch._foreach_zero_(own["sent"])
        torch._foreach_zero_(self.shared["sent"])
        self.stale = True
        super().finish(step)


@builds(spec.NoLoCo)
class NoLoCo(Separate):
    """NoLoCo: in pairs (i, j) drawn anew each round, δᵢ ← μδᵢ + β·mean(θ − φ) + γ(mean φ − φᵢ);
    φᵢ ← φᵢ + δᵢ, the means over the pair (arXiv:2506.10911).

    β = γ = ``lr``, as in the code and the configurations that the authors published (0.7, with μ = 0.5 and
    H = 50), is the form taken here. Pairs follow from the number of the update.
    """

    def round(self, step: int) -> None:
        drawn = pairs(self.workers, step)
        changes = self.changes()
        given = [[*own["slow"], *change] for own, change in zip(self.own, changes, strict=True)]
        gotten = self.team.partners(drawn, given)
        means = [list(torch._foreach_add(*pair)) for pair in zip(given, gotten, strict=True)]
        count = len(self.theta)
        for own, mean in zip(self.own, means, strict=True):
            torch._foreach_div_(mean, 2)
            slow, velocity = own["slow"], own["velocity"]
            torch._foreach_mul_(velocity, self.momentum)
            torch._foreach_add_(velocity, mean[count:], alpha=self.lr)
            torch._foreach_add_(velocity, torch._foreach_sub(mean[:count], slow), alpha=self.lr)
            torch._foreach_add_(slow, velocity)
        self.go_on()


def pairs(workers: int, step: int) -> list[int]:
    """The partner of each worker in the round that ends after update ``step``: the same in all processes."""
    draw = torch.Generator().manual_seed(step)
    order: list[int] = torch.randperm(workers, generator=draw).tolist()
    found = [0] * workers
    for one, other in zip(order[::2], order[1::2], strict=True):
        found[one], found[other] = other, one
    return found
