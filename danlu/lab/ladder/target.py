"""The large run that a ladder was climbed for: its size, tokens, rate, what it should reach, its command."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from danlu.files.yaml import brief
from danlu.lab.budget import Budget
from danlu.lab.errors import LabError
from danlu.lab.ladder.law import LadderLaw, Told, ends
from danlu.lab.ladder.plan import Plan, Rung, make_rung
from danlu.lab.ladder.shapes import Sized
from danlu.lab.statistics import Interval
from danlu.spec.errors import SpecError
from danlu.spec.experiment import Experiment
from danlu.spec.replay import MISSING, difference
from danlu.spec.schema import Accepts, adapt
from danlu.spec.words import resolve

# Times the compute of the largest rung, where the law may go so far: the target if none is named.
BEYOND = 10.0
AROUND, TRIED = 8.0, 25  # sizes from the law's optimum/8 to ·8 are looked at, so many


@dataclass(frozen=True)
class Target:
    """``told``: what the law says, with the interval of one run, and how far that is from the rungs;
    ``metric``: its loss in the objective's first metric, where that follows from the loss."""

    rung: Rung
    told: Told
    metric: Interval | None
    command: str
    seconds: float | None

    @property
    def loss(self) -> Interval:
        """Of one run."""
        return self.told.loss

    def json(self) -> dict[str, Any]:
        """Plain values."""
        said = {key: value for key, value in self.rung.json().items() if key != "level"}
        return {
            **said, "loss": ends(self.loss), "metric": self.metric and ends(self.metric),
            "reach": self.told.reach, "calibration": self.told.measured,
            "seconds": self.seconds, "command": self.command,
        }  # fmt: skip


def wanted(flops: str | None, parameters: str | None) -> tuple[float | None, int | None]:
    """What the user aims at: training FLOP or parameters. Raises LabError."""
    if flops is not None and parameters is not None:
        raise LabError("the target is one of --target (FLOP) and --target-parameters, not both")
    if flops is not None:
        budget = Budget.parse(flops)
        if budget.unit != "flop":
            raise LabError(
                f"target = {flops!r} is in FLOP, such as 1e17flop; for a size, --target-parameters 10M"
            )
        return budget.amount, None
    if parameters is None:
        return None, None
    size = adapt(parameters, Accepts(scalars=(int,)))
    if isinstance(size, str) and size.isascii() and size.isdigit():
        size = int(size)
    if not isinstance(size, int) or size <= 0:
        raise LabError(f"target-parameters = {brief(parameters)} is not a number of parameters such as 10M")
    return None, size


def check_reach(plan: Plan, flops: float | None, parameters: int | None) -> None:
    """Raises LabError where the target lies farther beyond the largest rung than any fit to the rungs may go,
    that is than they span (``danlu.laws.beyond.limit``). By IsoFLOP profiles the FLOP of a size are not known
    before.
    """
    from danlu.laws.beyond import ALLOWED

    if parameters is not None and plan.design == "chinchilla":
        sized = plan.shapes.of_size(parameters)
        flops = sized.flops * plan.per_parameter * sized.parameters
    if flops is None:
        return
    compute = [rung.flops for rung in plan.rungs]
    times, span = flops / max(compute), max(compute) / min(compute)
    if times > max(ALLOWED, span):
        raise LabError(
            f"the target, {flops:.3g} FLOP, is {times:.3g} times the largest rung, and the rungs span "
            f"{span:.3g} times: nothing would tell how wrong that is; aim nearer, give more rungs or budget, "
            "or --far (far=True in Python)"
        )


def aim(
    plan: Plan,
    law: LadderLaw,
    words: Sequence[str],
    flops: float | None,
    parameters: int | None,
    per_loss: float | None,
) -> Target:
    """The run of ``flops``, or of a model of ``parameters``; neither: ten times the largest rung's FLOP, or
    as many times as the law may go.
    ``per_loss``: the metric over the loss, where all runs agree in it."""
    if parameters is not None:
        sized = plan.shapes.of_size(parameters)
        tokens = _tokens_for(plan, law, sized)
    else:
        flops = flops or min(BEYOND, law.limit) * max(rung.flops for rung in plan.rungs)
        sized = _size_for(plan, law, flops)
        tokens = flops / sized.flops
    rung = make_rung(0, sized, tokens, plan.rate_of)
    told = law.told(sized.parameters, rung.tokens, rung.flops)
    metric = None if per_loss is None else Interval(*(per_loss * value for value in told.loss))
    seconds = None if plan.pace is None else rung.steps * plan.pace.of(sized)
    return Target(rung, told, metric, command(words, rung.experiment), seconds)


def _size_for(plan: Plan, law: LadderLaw, flops: float) -> Sized:
    """The size for a budget: at the ladder's tokens for each parameter, or the best by Chinchilla's law, each
    shape with the tokens that its own FLOPs leave it."""
    shapes = plan.shapes
    if law.fit.law.name != "chinchilla":
        return shapes.nearest(lambda sized: sized.flops * plan.per_parameter * sized.parameters, flops)
    from danlu.laws.formulas.chinchilla import optimum

    middle = float(optimum(law.fit.vector, flops)[0])
    if not math.isfinite(middle) or middle <= 0:
        raise LabError(
            "the fitted law has no best size: one of its exponents or scales is zero; run more rungs"
        )
    sizes = (middle * AROUND ** (2 * i / (TRIED - 1) - 1) for i in range(TRIED))
    tried = dict.fromkeys(shapes.of_size(max(size, shapes.smallest().parameters)) for size in sizes)
    return min(tried, key=lambda s: law.value(s.parameters, flops / s.flops, flops))


def _tokens_for(plan: Plan, law: LadderLaw, sized: Sized) -> float:
    """The tokens for a size: the ladder's for each parameter, or those for which it is the best size."""
    if law.fit.law.name != "chinchilla":
        return plan.per_parameter * sized.parameters
    from danlu.laws.formulas.chinchilla import optimum_of_size

    tokens = float(optimum_of_size(law.fit.vector, sized.parameters)[1])
    if not math.isfinite(tokens) or tokens <= 0:
        raise LabError("the fitted law has no best number of tokens for a size; run more rungs")
    return tokens


def command(words: Sequence[str], experiment: Experiment) -> str:
    """``danlu train`` with the words that make ``experiment`` of what ``words`` mean; compiled, evaluated and
    saved as those have it."""
    base = resolve(words)
    kept = {name: getattr(base.train, name) for name in ("compile", "evaluate_every", "checkpoint_every")}
    target = experiment.model_copy(update={"train": experiment.train.model_copy(update=kept)})
    changed = [f"{field}={_typed(new)}" for field, _, new in difference(base, target) if new != MISSING]
    said = [*words, *changed]
    try:
        same = resolve(said) == target
    except SpecError:
        same = False
    assert same, f"{said} is not the experiment that was planned"
    return shlex.join(["danlu", "train", *said])


def _typed(value: Any) -> str:
    """A value as it is typed after ``field=``."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)
