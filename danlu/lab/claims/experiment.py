"""A claim → the experiments and runs that it needs, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from danlu import spec
from danlu.lab import grids
from danlu.lab.budget import bounded, looked_into
from danlu.lab.claims.claim import Claim
from danlu.lab.claims.premises import Again, Measuring, Number
from danlu.lab.errors import LabError
from danlu.lab.limits import SEEDS, within
from danlu.lab.measures import measure
from danlu.lab.queue import Job
from danlu.lab.tuning import at
from danlu.spec import words
from danlu.spec.errors import SpecError

AT_START = "at-start"  # the first metric of the initial weights
COUNTS_START = ("sensitivity", "ceiling")  # what is made of points in which a run that diverged counts it

# Of one thread of a server's processor on networks as small as the book's; good to a factor of two.
START = 1.0  # seconds: its data, its evaluation
FEW = 4  # layers, where a network says nothing of them
FOR_A_LAYER = 2.5e-3  # seconds an update, however small the layer
FLOPS = 1.5e11  # a second


def points(claim: Claim) -> list[Any]:
    """The points that each arm is run at; ``[None]`` for a claim without."""
    if claim.over is None:
        return [None]
    ((field, text),) = claim.over.items()
    found = grids.points(text)
    if claim.of == "drop":
        return found
    if not all(isinstance(point, int | float) and point > 0 for point in found) or len(found) < 2:
        raise LabError(f"over: {field} = {text} must be several numbers above 0 for of = {claim.of}")
    return sorted(found)


def check(claim: Claim, seeds: int | None = None) -> None:
    """Raises LabError, naming the arm, where words do not make an experiment, where there is no such measure,
    or where an arm cannot be tuned."""
    within("seeds", claim.seeds if seeds is None else seeds, SEEDS)
    every = points(claim)
    for premise in claim.premises:
        at_point = getattr(premise, "at", None)
        if at_point is not None and at_point not in every:
            raise LabError(f"premise {premise.name!r}: at = {at_point:g} is none of the points {claim.over}")
    for arm in claim.arms:
        for point in every:
            made = experiment(claim, arm, point)
            if claim.tune is not None and arm in claim.tuned:
                at(made, claim.tune.field, 1.0)
        for name in wanted(claim, arm):
            measure(name, made.objective.metrics)
        first = made.objective.metrics[0].name
        for of, name in _counted(claim, arm):
            if name.replace("-", "_") not in ("metric", first):
                raise LabError(
                    f"arm {arm}: of = {of} is made of the objective's first metric; measure must be {first}"
                )
        if made.train.steps is None or made.train.seconds is not None:
            raise LabError(
                f"arm {arm}: a claim's runs are bounded by train.steps alone; set it in on or in the arm"
            )


def _counted(claim: Claim, arm: str) -> Iterator[tuple[str, str]]:
    """What is made of points in which the start counts, and of which measure: for contrast and premises."""
    if claim.of in COUNTS_START and arm in claim.contrast:
        yield claim.of, claim.measure_of(arm)
    for premise in claim.premises:
        if isinstance(premise, Number) and premise.of in COUNTS_START and arm in claim.arms_of(premise):
            yield premise.of, claim.measured_by(premise, arm)


def plan(claim: Claim, seeds: int) -> dict[tuple[str, int], dict[Any, Job]]:
    """The runs of each arm with each seed (``train.seed`` = 0, 1, …) by point, before anything is tuned."""
    made = {arm: {point: experiment(claim, arm, point) for point in points(claim)} for arm in claim.arms}
    return {
        (arm, seed): {point: job(claim, arm, one, seed) for point, one in each.items()}
        for arm, each in made.items()
        for seed in range(seeds)
    }


def experiment(claim: Claim, arm: str, point: Any = None) -> spec.Experiment:
    """Of an arm, at a point where there are some. Raises LabError, naming the arm."""
    try:
        made = words.resolve(words.split(typed(claim, arm, point)))
    except SpecError as error:
        raise LabError(f"arm {arm}: {error}") from None
    if claim.profile is not None:
        tokens = claim.profile[arm].compute / (6 * size(claim, arm, point))
        made = bounded(made, max(1, round(tokens / (made.train.batch * made.data.size))))
    return looked_into(made)


def size(claim: Claim, arm: str, point: Any) -> int:
    """N of an arm with a ``profile`` at a point: its parameters, with or without embeddings."""
    assert claim.profile is not None
    return _size(typed(claim, arm, point), claim.profile[arm].embeddings)


@lru_cache(maxsize=256)  # a memo: it is asked for at every look at a curve
def _size(typed: str, embeddings: bool) -> int:
    from danlu.models.costs import parameters, without_embeddings
    from danlu.train.assemble import outline

    _, model, *_ = outline(words.resolve(words.split(typed)))
    parts = parameters(model)
    return sum(parts.values()) if embeddings else without_embeddings(parts)


def typed(claim: Claim, arm: str, point: Any = None) -> str:
    """The words of an arm as they are typed after ``danlu train``."""
    return " ".join(
        part for part in (claim.on, claim.arms[arm], f"{claim.field}={point}" * (point is not None)) if part
    )


def job(claim: Claim, arm: str, made: spec.Experiment, seed: int) -> Job:
    """The run of an arm with a seed, and what the worker must measure of it."""
    train = made.train.model_copy(update={"seed": seed})
    asked = [name for name in wanted(claim, arm) if not measure(name, made.objective.metrics).reads]
    return Job(made.model_copy(update={"train": train}), measures=tuple(asked), name=run_name(claim))


def run_name(claim: Claim) -> str:
    """What the folders of its runs begin with."""
    return words.split(claim.on)[0]


def wanted(claim: Claim, arm: str) -> list[str]:
    """The measures that the runs of an arm are taken for: by the contrast, and by premises."""
    found = [claim.measure_of(arm)] if arm in claim.contrast else []
    for premise in claim.premises:
        if isinstance(premise, Measuring) and arm in claim.arms_of(premise):
            found.append(claim.measured_by(premise, arm))
    made_of = [claim.of, *(p.of for p in claim.premises if isinstance(p, Number))]
    if any(of in COUNTS_START for of in made_of):
        found.append(AT_START)
    return list(dict.fromkeys(found))


def halved(made: spec.Experiment) -> spec.Experiment:
    """With half of its updates, a whole schedule."""
    return bounded(made, max(1, (made.train.steps or 1) // 2), compile=made.train.compile)


def estimate(claim: Claim) -> float:
    """Seconds that the claim's runs take on two cores, by rule of thumb: at least, since a border may add
    trials. Equal runs count once."""
    arms = {arm: [experiment(claim, arm, point) for point in points(claim)] for arm in claim.arms}
    seconds: dict[str, float] = {}
    for arm, each in arms.items():
        again = sum(isinstance(premise, Again) and premise.again == arm for premise in claim.premises)
        trials = claim.tune.points * claim.tune.seeds if claim.tune and arm in claim.tuned else 0
        for made in each:
            seconds[job(claim, arm, made, 0).hash] = (claim.seeds * (1 + again) + trials) * _seconds(made)
        if claim.margin is not None and claim.margin.arm == arm:
            seconds["half"] = claim.seeds * _seconds(each[0]) / 2
    return math.fsum(seconds.values()) / 2


def _seconds(experiment: spec.Experiment) -> float:
    model, train, context = experiment.model, experiment.train, experiment.data.size
    if not isinstance(model, spec.Network):  # small ones
        return START + (train.steps or 0) * FEW * FOR_A_LAYER
    layers = model.layers * (2 if model.kind == "encoder-decoder" else 1)
    weights = 12 * layers * model.width**2 + 2 * 257 * model.width
    pairs = 4 * layers * model.width * context
    flops = 3 * train.batch * context * (2 * weights + pairs)
    # Workers apart are one population, whose layers are called once for all.
    return START + (train.steps or 0) * (layers * FOR_A_LAYER + flops / FLOPS)
