"""Claims put to the test: all their runs in one queue, a result as soon as the last run of a claim ended."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError

from danlu import spec
from danlu.files.json import read_object, to_json, write_json
from danlu.lab import evidence
from danlu.lab.claims import experiment, verdict
from danlu.lab.claims.book import Claim
from danlu.lab.errors import LabError
from danlu.lab.measures import value
from danlu.lab.queue import Job, Outcome, Queue
from danlu.lab.statistics import paired
from danlu.train.folder import ENVIRONMENT

FOLDER = "claims"  # inside the studies' folder
NOT_RUN: Final = "not run"
RECORDED = {  # of a run's environment
    "cpu": {"model": str, "cores": (int, None)}, "devices": list,
    "versions": dict.fromkeys(("danlu", "torch", "python"), str),
    "data": {"splits": {"train": {"text_sha256": (str, None)}}, "sha256": (str, None)},
}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What became of a claim; all of it JSON.

    ``claim``: as it stood. ``verdict``: *holds*, *does not hold*, *not shown*, or *not run* where runs
    ``failed`` (a sentence each; a run that diverged has not failed). ``effect``: mean, low and high end of
    its 95 % interval; ``effects`` by seed; ``values`` of each arm by seed; ``measured``, where there are
    points, by arm and point. ``seconds``: active, of the runs that no claim before it needed. ``machine``,
    ``versions``, ``data`` (hash of the training text by corpus), ``code`` (``danlu.lab.evidence``): of its
    runs.
    """

    name: str
    claim: dict[str, Any]
    verdict: verdict.Verdict | Literal["not run"]
    effect: tuple[float, float, float]
    effects: list[float]
    values: dict[str, list[float]]
    measured: dict[str, dict[str, list[float]]]
    seeds: int
    runs: int
    diverged: int
    failed: list[str]
    seconds: float
    machine: dict[str, Any]
    versions: dict[str, str]
    data: dict[str, str]
    date: str
    code: str | None = None


def prove(claims: Mapping[str, Claim], queue: Queue, seeds: int | None = None) -> Iterator[Result]:
    """Run what the claims need, equal runs once, and give each claim's result as it is complete. ``seeds`` in
    place of each claim's own. Raises LabError, naming the claim, before anything runs if one cannot be."""
    plans = {name: _plan(name, claim, seeds) for name, claim in claims.items()}
    jobs: dict[str, Job] = {}
    owner: dict[str, str] = {}  # the claim that a run's cost is counted for
    waiting: dict[str, set[str]] = {}
    for name, plan in plans.items():
        needed = [job for runs in plan.values() for job in runs.values()]
        waiting[name] = {job.hash for job in needed}
        for job in needed:
            asked = jobs.get(job.hash, job).measures
            jobs[job.hash] = replace(job, measures=tuple(dict.fromkeys((*asked, *job.measures))))
            owner.setdefault(job.hash, name)
    for job in jobs.values():
        queue.submit(job)
    ended: dict[str, Outcome] = {}
    while len(ended) < len(jobs):
        outcome = queue.next()
        ended[outcome.job.hash] = outcome
        for name in [name for name, left in waiting.items() if left <= ended.keys()]:
            del waiting[name]
            own = {id for id, of in owner.items() if of == name}
            result = _result(name, claims[name], plans[name], ended, own)
            runs = [ended[job.hash].folder for of in plans[name].values() for job in of.values()]
            yield replace(result, code=evidence.keep(queue.runs.parent / FOLDER, runs))


def _plan(name: str, claim: Claim, seeds: int | None) -> experiment.Plan:
    try:
        return experiment.plan(claim, seeds)
    except LabError as error:
        raise LabError(f"claim {name}: {error}") from None


def _result(
    name: str, claim: Claim, plan: experiment.Plan, ended: Mapping[str, Outcome], own: set[str]
) -> Result:
    outcomes = {job.hash: ended[job.hash] for runs in plan.values() for job in runs.values()}
    failed = {o.error for o in outcomes.values() if o.error and not o.diverged}
    measured = {
        (arm, seed): {point: _measured(claim, arm, ended[job.hash], failed) for point, job in runs.items()}
        for (arm, seed), runs in plan.items()
    }
    seeds = sorted({seed for _, seed in plan})
    values = {
        arm: [verdict.arm_value(claim, measured[arm, seed], _sign(claim, arm, plan)) for seed in seeds]
        for arm in claim.arms
    }
    by_point = {
        arm: {str(point): [measured[arm, seed][point] for seed in seeds] for point in measured[arm, seeds[0]]}
        for arm in claim.arms
    }
    effects = verdict.effects(claim, values)
    interval = paired(effects)
    return Result(
        name=name,
        claim=claim.model_dump(mode="json"),
        verdict=NOT_RUN if failed else verdict.judge(claim.holds, interval),
        effect=(interval.value, interval.low, interval.high),
        effects=effects,
        values=values,
        measured=by_point if claim.over else {},
        seeds=len(seeds),
        runs=len(outcomes),
        diverged=sum(o.diverged for o in outcomes.values()),
        failed=sorted(failed),
        seconds=math.fsum(
            value(o, "seconds") for id, o in outcomes.items() if id in own and o.summary is not None
        ),
        **_surroundings(list(outcomes.values())),
        date=time.strftime("%Y-%m-%d"),
    )


def _sign(claim: Claim, arm: str, plan: experiment.Plan) -> int:
    """−1 where higher is better of what is measured of an arm."""
    job = next(job for (of, _), runs in plan.items() if of == arm for job in runs.values())
    return experiment.measured(claim, arm, job.experiment).metric.sign


def _measured(claim: Claim, arm: str, outcome: Outcome, failed: set[str]) -> float:
    """The measure of a run, nan where it has none; why a finished run has none is added to ``failed``."""
    if outcome.diverged and claim.diverged is not None:
        return claim.diverged
    try:
        return math.nan if outcome.error else value(outcome, claim.measure_of(arm))
    except LabError as error:  # of this claim alone: the rest of the book goes on
        failed.add(str(error))
        return math.nan


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
        data, recorded = outcome.job.experiment.data, said["data"]
        if isinstance(data, spec.Text):
            found["data"][data.corpus] = recorded["splits"]["train"]["text_sha256"][:12]
        else:
            found["data"][data.kind] = recorded["sha256"][:12]
    return found


def save(studies: Path, result: Result) -> None:
    """Keep a result; the date stays where nothing else is new."""
    path = studies / FOLDER / f"{result.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    written = asdict(result)
    if path.exists():
        before = read_object(path)
        if to_json(before | {"date": ""}) == to_json(written | {"date": ""}):
            return
    write_json(path, written)


def saved(studies: Path) -> dict[str, Result]:
    """Every result that was kept, by the claim's name."""
    files = sorted((studies / FOLDER).glob("*.json"))
    kept = (_kept(path) for path in files if path.name != evidence.CODE)
    return {result.name: result for result in kept}


def _kept(path: Path) -> Result:
    try:
        return TypeAdapter(Result).validate_python(read_object(path))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise LabError(
            f"{path}: {where}: {problem['msg']}; delete it, and the claim is proved again"
        ) from None
