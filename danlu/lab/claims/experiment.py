"""A claim → the runs that it needs, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from danlu import spec
from danlu.lab import grids
from danlu.lab.claims.book import Claim
from danlu.lab.errors import LabError
from danlu.lab.limits import SEEDS, within
from danlu.lab.measures import Measure, measure
from danlu.lab.queue import Job
from danlu.spec import words
from danlu.spec.errors import SpecError

# The runs of one arm with one seed, by point; a claim without points has the one point None.
Runs = Mapping[Any, Job]
Plan = Mapping[tuple[str, int], Runs]

# Of one thread of a server's processor on networks as small as the book's; good to a factor of two.
START = 1.0  # seconds: its data, its evaluation
FOR_A_LAYER = 2.5e-3  # seconds an update, however small the layer
FLOPS = 1.5e11  # a second


def points(claim: Claim) -> list[Any]:
    """The points that each arm is run at; ``[None]`` for a claim without."""
    if claim.over is None:
        return [None]
    ((field, text),) = claim.over.items()
    found = grids.points(text)
    numbers = all(isinstance(point, int | float) and point > 0 for point in found)
    if claim.of in ("argbest", "range", "slope") and not (numbers and len(found) > 1):
        raise LabError(f"over: {field} = {text} must be several numbers above 0 for of = {claim.of}")
    return found


def plan(claim: Claim, seeds: int | None = None) -> Plan:
    """The runs of each arm with each seed (``train.seed`` = 0, 1, …). Raises LabError, naming the arm, where
    words do not make an experiment."""
    count = claim.seeds if seeds is None else seeds
    within("seeds", count, SEEDS)
    at = {arm: {point: _experiment(claim, arm, point) for point in points(claim)} for arm in claim.arms}
    return {
        (arm, seed): {point: _job(claim, arm, experiment, seed) for point, experiment in at[arm].items()}
        for arm in claim.arms
        for seed in range(count)
    }


def typed(claim: Claim, arm: str, point: Any = None) -> str:
    """The words of an arm as they are typed after ``danlu train``."""
    field = next(iter(claim.over or ()), "")
    return " ".join(
        part for part in (claim.on, claim.arms[arm], f"{field}={point}" * (point is not None)) if part
    )


def _experiment(claim: Claim, arm: str, point: Any) -> spec.Experiment:
    try:
        return words.resolve(words.split(typed(claim, arm, point)))
    except SpecError as error:
        raise LabError(f"arm {arm}: {error}") from None


def _job(claim: Claim, arm: str, experiment: spec.Experiment, seed: int) -> Job:
    train = experiment.train.model_copy(update={"seed": seed})
    return Job(
        experiment.model_copy(update={"train": train}),
        measures=() if measured(claim, arm, experiment).reads else (claim.measure_of(arm),),
        name=words.split(claim.on)[0],
    )


def measured(claim: Claim, arm: str, experiment: spec.Experiment) -> Measure:
    """What is measured of the runs of an arm, whose experiment says which metrics there are."""
    return measure(claim.measure_of(arm), experiment.objective.metrics)


def estimate(claim: Claim) -> float:
    """Seconds that the claim's runs take on two cores, by rule of thumb; equal runs count once."""
    runs = {job.hash: job for of_arm in plan(claim, seeds=1).values() for job in of_arm.values()}
    return claim.seeds * math.fsum(_seconds(job.experiment) for job in runs.values()) / 2


def _seconds(experiment: spec.Experiment) -> float:
    model, train, context = experiment.model, experiment.train, experiment.data.size
    layers = model.layers * (2 if model.kind == "encoder-decoder" else 1)
    weights = 12 * layers * model.width**2 + 2 * 257 * model.width
    pairs = 4 * layers * model.width * context
    flops = 3 * train.batch * context * (2 * weights + pairs)
    return START + (train.steps or 0) * (layers * FOR_A_LAYER + flops / FLOPS)
