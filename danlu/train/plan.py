"""What is known of a run before it begins: how far along it is, how large each batch, when what will come."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from danlu import spec
from danlu.optim import Progress
from danlu.spec.durations import Duration, length
from danlu.spec.errors import either
from danlu.train.errors import RunError

if TYPE_CHECKING:
    from danlu.train.parallel import Processes


class Plan:
    """The course of ``train`` with examples of ``context`` units (tokens of a sequence, 1 of an image).

    Where steps or tokens bound a run, all of it follows from the specification; where seconds do, what is a
    number of steps or tokens becomes a share of the run by the pace so far.

    Raises ``RunError`` where a batch cannot be shared among ``processes``.
    """

    def __init__(self, train: spec.Train, context: int, processes: int = 1) -> None:
        self.train, self.context = train, context
        try:
            train.check_shared(processes)
        except ValueError as error:
            raise RunError(str(error)) from None

    def progress(self, step: float, tokens: float, seconds: float = 0.0) -> float:
        """The share of the run that is done, by the bound that is nearest."""
        train = self.train
        done = ((step, train.steps), (tokens, train.tokens), (seconds, train.seconds))
        return min(1.0, max(part / bound for part, bound in done if bound is not None))

    def at(self, step: int, tokens: int, progress: float) -> Progress:
        """The moment before an update; its batch is that of the update."""
        batch = self.batch(Progress(progress, step, tokens)) * self.context
        if self.train.seconds is not None:
            return Progress(progress, step, tokens, batch)
        return Planned(progress, step, tokens, batch, plan=self)

    def batch(self, now: Progress) -> int:
        """The sequences of the update at ``now``."""
        ramp, begin = self.train.ramp, 0.0
        following = [*(stage.batch for stage in ramp), self.train.batch][1:]
        for stage, after in zip(ramp, following, strict=True):
            if not now.passed(stage.until):
                if stage.by is None:
                    return stage.batch
                end, unit = length(stage.until)
                parts = (after - stage.batch) // stage.by
                return stage.batch + stage.by * int((now.done(unit) - begin) * parts // (end - begin))
            begin = length(stage.until).amount
        return self.train.batch

    # ---------------------------------------------------------------- of a run bounded by steps or tokens

    @cached_property
    def _ramped(self) -> list[int]:
        """The tokens read before each of the first updates, up to the one after the ramp."""
        tokens, ramp = [0], self.train.ramp
        while ramp and (progress := self.progress(len(tokens) - 1, tokens[-1])) < 1:
            now = Progress(progress, len(tokens) - 1, tokens[-1])
            if now.passed(ramp[-1].until):
                break
            tokens.append(tokens[-1] + self.batch(now) * self.context)
        return tokens

    def tokens_at(self, step: float) -> float:
        """The tokens read in the first ``step`` updates."""
        ramped = self._ramped
        if step >= (last := len(ramped) - 1):
            return ramped[-1] + (step - last) * self.train.batch * self.context
        whole = int(step)
        return ramped[whole] + (step - whole) * (ramped[whole + 1] - ramped[whole])

    def steps_at(self, tokens: float) -> float:
        """The updates, not all of them whole, that read the first ``tokens``."""
        ramped = self._ramped
        if tokens >= ramped[-1]:
            return len(ramped) - 1 + (tokens - ramped[-1]) / (self.train.batch * self.context)
        after = bisect_right(ramped, tokens)
        return after - 1 + (tokens - ramped[after - 1]) / (ramped[after] - ramped[after - 1])

    @property
    def updates(self) -> int | None:
        """The updates of the whole run; None where seconds bound it."""
        train = self.train
        if train.seconds is not None:
            return None
        bounds = [] if train.steps is None else [train.steps]
        if train.tokens is not None:
            bounds.append(math.ceil(self.steps_at(train.tokens)))
        return min(bounds)

    def share(self, duration: Duration) -> float:
        """``duration``, counted from the beginning, as a share of the run (more than 1: it is longer)."""
        amount, unit = length(duration)
        if unit == "run":
            return amount
        shares = []
        if self.train.steps is not None:
            shares.append((amount if unit == "steps" else self.steps_at(amount)) / self.train.steps)
        if self.train.tokens is not None:
            shares.append((amount if unit == "tokens" else self.tokens_at(amount)) / self.train.tokens)
        return max(shares)

    def last(self, duration: Duration) -> float:
        """The share of the run after which its last ``duration`` begins, the ramp being over by then."""
        amount, unit = length(duration)
        if unit == "run":
            return 1.0 - amount
        train, update = self.train, self.train.batch * self.context
        if train.steps is not None and (train.tokens is None or self.tokens_at(train.steps) <= train.tokens):
            return 1.0 - (amount if unit == "steps" else amount / update) / train.steps
        assert train.tokens is not None
        return 1.0 - (amount if unit == "tokens" else amount * update) / train.tokens


def updates_of(experiment: spec.Experiment) -> int | None:
    """The updates of a run of ``experiment``; None where seconds bound it."""
    return Plan(experiment.train, experiment.data.size).updates


def check_counts(experiment: spec.Experiment, counts: Collection[int], group: Processes) -> None:
    """Raises ``RunError``, once in the ``group``, where a run of ``experiment`` could not share its batches
    among each of ``counts`` processes, one of which it may go on with, or where the group's is none of
    these."""
    for count in sorted(counts):
        try:
            experiment.train.check_shared(experiment.train.mesh.data(count))
        except ValueError as error:
            raise group.once(RunError(f"with {count} processes: {error}")) from None
    if counts and group.count not in counts:
        there = "is 1 process" if group.count == 1 else f"are {group.count} processes"
        raise group.once(RunError(f"there {there}; allowed: {either(map(str, sorted(counts)))}"))


@dataclass(frozen=True)
class Planned(Progress):
    """A moment of a run that steps or tokens bound."""

    plan: Plan = field(kw_only=True)

    def share(self, duration: Duration) -> float:
        return self.plan.share(duration)

    def last(self, duration: Duration) -> float:
        return self.plan.last(duration)
