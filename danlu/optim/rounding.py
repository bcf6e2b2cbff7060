"""Weights kept in bfloat16: updates computed in float32, and how their results are rounded.

A rate of η moves a weight by about η of its size. bfloat16 keeps eight bits, so that rounding to the nearest
leaves alone whatever moves by less than 1/512 to 1/256; rounding up or down at random, with probabilities
that make the mean right, does not lose it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn as nn
from torch.optim import Optimizer

from danlu.optim.base import Rule, local

CHUNK = 1 << 24  # weights whose float32 copies exist at one time; more where one tensor has more


def round_stochastically(x: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """``x`` (float32, any shape) in bfloat16, each number as one of its two neighbours there: the farther
    along towards a neighbour, the likelier that one, so that the mean is ``x``.

    The probabilities are exact multiples of 2⁻¹⁶, as the distances are. What bfloat16 has, zeros, infinities
    and NaN stay as they are.
    """
    noise = torch.randint(0, 1 << 16, x.shape, dtype=torch.int32, device=x.device, generator=generator)
    return round_with(x, noise)


def round_with(x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """``round_stochastically`` with ``noise`` (int32 in [0, 2¹⁶), of the shape of ``x``) given.

    Between two neighbours in bfloat16, float32's bits count evenly: adding the noise to the sixteen that
    are cut off carries into the others with the probability wanted, across powers of two as well.
    """
    bits = x.contiguous().view(torch.int32) + noise
    rounded = bits.bitwise_and_(-1 << 16).view(torch.float32)
    # The carry may turn a NaN into a zero: that of GPUs has all bits set.
    return torch.where(x.isnan(), x, rounded).to(torch.bfloat16)


def to_bfloat16(model: nn.Module) -> None:
    """Turn the parameters of ``model`` into bfloat16, in place; its buffers stay."""
    for p in model.parameters():
        p.data = p.data.to(torch.bfloat16)


def steps(weights: str, seed: int = 0, shard: int = 0) -> Steps:
    """How rules step on weights kept as ``train.weights`` says."""
    if weights == "float32":
        return Steps()
    return HalfPrecision(stochastic=weights == "bfloat16-stochastic", seed=seed, shard=shard)


class Steps:
    """Steps of update rules on parameters as they are."""

    def begin(self, update: int, *, count: bool) -> None:
        """Before the steps of the rules that together make ``update``; ``count`` what becomes of it."""

    def step(self, rule: Optimizer) -> None:
        """One step of ``rule``."""
        rule.step()

    def prepare(self, rule: Rule) -> None:
        """Give the rule the state that a step would find."""
        rule.prepare()

    def row(
        self, sum_up: Callable[[torch.Tensor], torch.Tensor], part: Callable[[str], str] = str
    ) -> dict[str, Any]:
        """What was counted since ``begin``, by name; ``sum_up``: over processes; ``part``: that a parameter
        belongs to."""
        return {}


class HalfPrecision(Steps):
    """Steps of update rules on bfloat16 parameters.

    A rule is shown float32 copies of parameters and gradients, some at a time; its results go back rounded to
    the nearest, or stochastically, as a function of ``seed``, the update and the order of parameters. Its
    state is float32. Any ``torch.optim.Optimizer`` will do that keeps its state by parameter.

    ``shard``: the number of the process if parameters are sharded (processes with whole ones must round
    alike). ``counts``, int64 (2,) by parameter: of the weights that the last update would have moved, those
    that rounding left where they were, and all.
    """

    def __init__(self, *, stochastic: bool, seed: int = 0, shard: int = 0, chunk: int = CHUNK) -> None:
        self.stochastic, self.seed, self.shard, self.chunk = stochastic, seed, shard, chunk
        self.begin(0)

    def begin(self, update: int, *, count: bool = True) -> None:
        """As said above; counting costs two comparisons a weight."""
        self.update, self.count = update, count
        self.counts: dict[str, torch.Tensor] = {}
        self.generators: dict[torch.device, torch.Generator] = {}

    @torch.no_grad()
    def step(self, rule: Optimizer) -> None:
        for part in self._parts(rule):
            with _in_float32(rule, part) as pairs:
                rule.step()
                for (p, exact), name in zip(pairs, part["names"], strict=True):
                    self._write(local(p), local(exact), name)

    def prepare(self, rule: Rule) -> None:
        for part in self._parts(rule):
            with _in_float32(rule, part):
                rule.prepare()

    def row(
        self, sum_up: Callable[[torch.Tensor], torch.Tensor], part: Callable[[str], str] = str
    ) -> dict[str, Any]:
        """``lost_updates``, the share of what the last update would have moved that did not move, and
        ``lost_by_part``, the same by part."""
        if not self.counts:  # it was skipped
            return {}
        by_part: dict[str, list[int]] = {}
        counts = sum_up(torch.stack([*self.counts.values()])).tolist()
        for name, (lost, moved) in zip(self.counts, counts, strict=True):
            one = by_part.setdefault(part(name), [0, 0])
            one[0], one[1] = one[0] + lost, one[1] + moved
        lost, moved = (sum(column) for column in zip(*by_part.values(), strict=True))
        shares = {name: lost / max(moved, 1) for name, (lost, moved) in by_part.items()}
        return {"lost_updates": lost / max(moved, 1), "lost_by_part": shares}

    def _parts(self, rule: Optimizer) -> list[dict[str, Any]]:
        """The rule's groups, cut into such of at most ``chunk`` weights."""
        parts = []
        for group in rule.param_groups:
            names = group.get("names") or [""] * len(group["params"])
            size = self.chunk + 1
            for p, name in zip(group["params"], names, strict=True):
                size += p.numel()  # of all processes: they must cut alike
                if size > self.chunk:
                    parts.append({**group, "params": [], "names": []})
                    size = p.numel()
                parts[-1]["params"].append(p)
                parts[-1]["names"].append(name)
        return parts

    def _write(self, p: torch.Tensor, exact: torch.Tensor, name: str) -> None:
        rounded = round_stochastically(exact, self._generator(p.device)) if self.stochastic else exact.to(p)
        if self.count:
            moved = exact != p
            lost = moved.logical_and(rounded == p)
            counts = torch.stack([lost.sum(), moved.sum()])
            self.counts[name] = self.counts[name] + counts if name in self.counts else counts
        p.copy_(rounded)

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self.generators:
            found = torch.Generator(device)
            found.manual_seed(hash((self.seed, self.update, self.shard, 0xBF16)) & 0x7FFFFFFF)
            self.generators[device] = found
        return self.generators[device]


@contextmanager
def _in_float32(rule: Optimizer, part: dict[str, Any]) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Within, ``rule`` has the parameters of ``part`` alone, as float32 copies that have their gradients and
    their state; gives the parameters with their copies."""
    groups, pairs = rule.param_groups, []
    for p in part["params"]:
        copy = p.detach().float()
        copy.grad = None if p.grad is None else p.grad.float()
        pairs.append((p, copy))
        if p in rule.state:
            rule.state[copy] = rule.state.pop(p)
    rule.param_groups = [{**part, "params": [copy for _, copy in pairs]}]
    try:
        yield pairs
    finally:
        rule.param_groups = groups
        for p, copy in pairs:
            if copy in rule.state:
                rule.state[p] = rule.state.pop(copy)
