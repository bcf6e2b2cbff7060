"""Claims put to the test: all their runs in one queue, a result as soon as a claim's course has ended."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from danlu import spec
from danlu.files.json import read_object
from danlu.lab import evidence
from danlu.lab.claims import experiment
from danlu.lab.claims.claim import Claim
from danlu.lab.claims.course import Course, Ending, course
from danlu.lab.claims.results import FOLDER, NOT_RUN, VOID, Best, Result, Was, mark_of
from danlu.lab.errors import LabError
from danlu.lab.measures import value
from danlu.lab.queue import Job, Outcome, Queue
from danlu.train.folder import ENVIRONMENT

AHEAD = 8  # pending runs below which another claim is begun
RECORDED = {  # of a run's environment
    "cpu": {"model": str, "cores": (int, None)}, "devices": list,
    "versions": dict.fromkeys(("danlu", "torch", "python"), str),
    "data": dict,
}  # fmt: skip

Key = tuple[str, tuple[str, ...]]  # of a job


def prove(
    claims: Mapping[str, Claim],
    queue: Queue,
    seeds: int | None = None,
    known: Mapping[str, Result] | None = None,
) -> Iterator[Result]:
    """Run what the claims need, equal runs once, and give each claim's result as it is complete. ``seeds`` in
    place of each claim's own. ``known``: earlier results, of these claims and of others whose effects margins
    are shares of. Raises LabError, naming the claim, before anything runs if one cannot be."""
    for name, claim in claims.items():
        try:
            experiment.check(claim, seeds)
        except LabError as error:
            raise LabError(f"claim {name}: {error}") from None
    for name in claims:
        if name in (chain := _shares_of(claims, name)):
            raise LabError(f"claim {name}: margin.of goes round in a circle: {' → '.join([name, *chain])}")
    return _Proof(claims, queue, seeds, dict(known or {})).results()


@dataclass
class _Under:
    """A claim that is under way: its course, the outcomes that it waits for, and those that it had."""

    course: Course
    asked: Sequence[Job] = ()
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def ready(self, ended: Mapping[Key, Outcome]) -> bool:
        return all(_key(job) in ended for job in self.asked)

    def take(self, ended: Mapping[Key, Outcome]) -> list[Outcome]:
        """The outcomes that it waited for."""
        outcomes = [ended[_key(job)] for job in self.asked]
        self.outcomes |= {outcome.job.hash: outcome for outcome in outcomes}
        return outcomes


class _Proof:
    def __init__(
        self, claims: Mapping[str, Claim], queue: Queue, seeds: int | None, known: dict[str, Result]
    ) -> None:
        self.claims, self.queue, self.seeds, self.known = claims, queue, seeds, known
        self.waiting = list(claims)
        self.under: dict[str, _Under] = {}
        self.pending: set[Key] = set()
        self.ended: dict[Key, Outcome] = {}
        self.owner: dict[str, str] = {}  # the claim that a run's cost is counted for, by the run's hash

    def results(self) -> Iterator[Result]:
        while self.waiting or self.under:
            yield from self._begin()
            if self.pending:
                outcome = self.queue.next()
                self.pending.discard(_key(outcome.job))
                self.ended[_key(outcome.job)] = outcome
            yield from self._go_on()

    def _begin(self) -> Iterator[Result]:
        """Begin as many claims as keep the queue busy; one whose margin is a share of another's effect waits
        for that."""
        for name in list(self.waiting):
            if len(self.pending) >= AHEAD:
                return
            if self.claims[name].basis in (*self.waiting, *self.under):
                continue
            self.waiting.remove(name)
            before = self._before(name)
            if before is not None and before.refused(self._count(name)):
                yield before
                continue
            way = course(self.claims[name], self._count(name), self.known, before)
            self.under[name] = _Under(way)
            result = self._advance(name, None)
            if result is not None:
                yield result

    def _count(self, name: str) -> int:
        return self.claims[name].seeds if self.seeds is None else self.seeds

    def _before(self, name: str) -> Result | None:
        """The earlier result of the claim as it stands."""
        result = self.known.get(name)
        return result if result is not None and result.of(self.claims[name]) else None

    def _go_on(self) -> Iterator[Result]:
        for name in [name for name, under in self.under.items() if under.ready(self.ended)]:
            result = self._advance(name, self.under[name].take(self.ended))
            if result is not None:
                yield result

    def _advance(self, name: str, outcomes: list[Outcome] | None) -> Result | None:
        """On to the next runs that it asks for; its result where it asks for no more."""
        under = self.under[name]
        while True:
            try:
                under.asked = next(under.course) if outcomes is None else under.course.send(outcomes)
            except StopIteration as end:
                return self._end(name, end.value)
            except LabError as error:  # a run that tunes failed: this claim alone ends, the others go on
                return self._end(name, Ending(why=[str(error)], failed=[str(error)]))
            for job in under.asked:
                self.owner.setdefault(job.hash, name)
                if _key(job) not in self.ended and _key(job) not in self.pending:
                    self.pending.add(_key(job))
                    self.queue.submit(job)
            if not under.ready(self.ended):
                return None
            outcomes = under.take(self.ended)

    def _end(self, name: str, ending: Ending) -> Result:
        outcomes = self.under.pop(name).outcomes
        own = [one for hash, one in outcomes.items() if self.owner[hash] == name and one.summary is not None]
        claim, count, before = self.claims[name], self._count(name), self._before(name)
        today = time.strftime("%Y-%m-%d")
        judged = ending.verdict not in (NOT_RUN, VOID)
        looks = [*(before.looks if before else ()), *([count] if judged else [])]
        result = Result(
            name=name,
            claim=claim.model_dump(mode="json", exclude_none=True),
            verdict=ending.verdict,
            why=ending.why,
            effect=(ending.effect.value, ending.effect.low, ending.effect.high),
            effects=ending.effects,
            values=ending.values,
            measured=ending.measured,
            seeds=count,
            runs=len(outcomes),
            diverged=sum(one.diverged for one in outcomes.values()),
            failed=ending.failed,
            seconds=math.fsum(value(one, "seconds") for one in own),
            **_surroundings(list(outcomes.values())),
            date=today,
            code=evidence.keep(self.queue.runs.parent / FOLDER, [one.folder for one in outcomes.values()]),
            mark=mark_of(claim.model_dump(mode="json")),
            first=(before.first if before else "") or today,
            early=list(ending.regime.get("early", ())),
            weak=ending.weak,
            margin=None if math.isnan(ending.margin) else ending.margin,
            spread=ending.spread,
            needed=ending.needed,
            severity=ending.severity,
            premises=ending.premises,
            tuned={arm: Best(**one.json()) for arm, one in ending.tuned.items()},
            regime=ending.regime,
            looks=sorted(set(looks)),
            inside=ending.inside,
            before=self._earlier(name),
            trials=next((one.trials for one in ending.tuned.values()), 0),
        )
        self.known[name] = result
        return result

    def _earlier(self, name: str) -> list[Was]:
        """The verdicts under other rules, arms, premises or margins, the last of them too."""
        result = self.known.get(name)
        if result is None:
            return []
        if result.of(self.claims[name]) or result.verdict == NOT_RUN:
            return result.before
        return [*result.before, Was(result.mark, result.first, result.date, result.verdict)]


def _shares_of(claims: Mapping[str, Claim], name: str) -> list[str]:
    """The claims whose effects its margin stands on, one after another, up to one that comes again."""
    chain: list[str] = []
    while name in claims and (of := claims[name].basis) is not None and of not in chain:
        chain.append(of)
        name = of
    return chain


def _key(job: Job) -> Key:
    return job.hash, job.measures


def _surroundings(outcomes: list[Outcome]) -> dict[str, Any]:
    """Machine, versions and data of the runs, as they wrote them down."""
    found: dict[str, Any] = {"machine": {}, "versions": {}, "data": {}}
    for outcome in outcomes:
        if not (outcome.folder / ENVIRONMENT).exists():
            continue
        said = read_object(outcome.folder / ENVIRONMENT, RECORDED)
        cpu = said["cpu"]
        found["machine"] = {"cpu": cpu["model"], "cores": cpu["cores"], "devices": said["devices"]}
        found["versions"] = {name: said["versions"][name] for name in ("danlu", "torch", "python")}
        data = outcome.job.experiment.data
        name = data.corpus if isinstance(data, spec.Text) else data.kind
        found["data"][name] = _digest(said["data"])[:12]
    return found


def _digest(recorded: Mapping[str, Any]) -> str:
    """Of what was trained on; of data without end, which are drawn anew, of what describes them."""
    if "sha256" in recorded:
        return str(recorded["sha256"])
    match recorded:
        case {"splits": {"train": {"text_sha256": str(known)} | {"sha256": str(known)}}}:
            return known
    return hashlib.sha256(json.dumps(recorded, sort_keys=True).encode()).hexdigest()
