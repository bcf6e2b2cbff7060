"""What the test of claims will run, counted before anything runs."""

from __future__ import annotations

from collections.abc import Mapping

from danlu.lab.budget import flops
from danlu.lab.claims import experiment
from danlu.lab.claims.claim import Claim
from danlu.lab.claims.course import HALF
from danlu.lab.claims.premises import Again, Inside
from danlu.lab.forecast import Alike, Forecast
from danlu.lab.statistics.optimum import BEYOND

NOTE = "a claim ends early where a premise fails, and equal runs are made once"


def forecast(claims: Mapping[str, Claim], seeds: int | None = None) -> Forecast:
    """Of ``proof.prove``; ``seeds`` in place of each claim's own. Raises LabError where a claim cannot be
    run."""
    arms, runs, most = [], list[Alike](), 0
    for name, claim in claims.items():
        experiment.check(claim, seeds)
        count = claim.seeds if seeds is None else seeds
        most = max(most, count)
        of = f"{name}: " if len(claims) > 1 else ""
        for arm in claim.arms:
            arms.append((f"{of}{arm}", experiment.typed(claim, arm)))
            each = [experiment.experiment(claim, arm, point) for point in experiment.points(claim)]
            if claim.tune is not None and arm in claim.tuned:
                what, steps = f"the best {claim.tune.field}", each[0].train.steps or 1
                runs.append(Alike.of(f"{of}{arm}", what, each[0], steps, *claim.tune.trials))
            twice = any(isinstance(premise, Again) and premise.again == arm for premise in claim.premises)
            for point, made in zip(experiment.points(claim), each, strict=True):
                at = "the comparison" if point is None else f"{claim.field} = {point}"
                all_of = count * (1 + twice)
                runs.append(Alike.of(f"{of}{arm}", at, made, made.train.steps or 1, all_of))
            if beyond := sum(BEYOND * one.extend for one in claim.premises if isinstance(one, Inside)):
                dearest = max(each, key=flops)
                what, steps = f"{claim.field} beyond these", dearest.train.steps or 1
                runs.append(Alike.of(f"{of}{arm}", what, dearest, steps, 0, beyond * count * (1 + twice)))
            if claim.margin is not None and claim.margin.cec is not None and claim.margin.arm == arm:
                half = max(1, (each[0].train.steps or 1) // 2)
                runs.append(Alike.of(f"{of}{arm}", HALF, each[0], half, count))
    return Forecast(
        asks=next(iter(claims.values())).statement if len(claims) == 1 else f"do {len(claims)} claims hold?",
        arms=arms,
        runs=runs,
        seeds=range(most),
        notes=[NOTE],
    )
