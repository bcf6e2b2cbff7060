"""What the test of claims will run, counted before anything runs."""

from __future__ import annotations

from collections.abc import Mapping

from danlu import spec
from danlu.lab.budget import flops
from danlu.lab.claims import experiment
from danlu.lab.claims.claim import Claim
from danlu.lab.claims.course import HALF
from danlu.lab.claims.premises import Again, Inside
from danlu.lab.forecast import Alike, Forecast
from danlu.lab.statistics.optimum import BEYOND
from danlu.spec.replay import to_yaml

NOTE = "a claim ends early where a premise fails, and equal runs are made once"


def forecast(claims: Mapping[str, Claim], seeds: int | None = None) -> Forecast:
    """Of ``proof.prove``; ``seeds`` in place of each claim's own. Raises LabError where a claim cannot be
    run."""
    arms, runs, most = [], list[Alike](), 0
    counted = dict[tuple[str, str], str]()  # what runs are for, and which: by which arm they were counted

    def count_in(arm: str, what: str, of: spec.Experiment, why: str, least: int, all_of: int) -> None:
        """Equal runs are made once."""
        if counted.setdefault((why, to_yaml(of)), arm) == arm:
            runs.append(Alike.of(arm, what, of, of.train.steps or 1, least, all_of))

    for name, claim in claims.items():
        experiment.check(claim, seeds)
        count = claim.seeds if seeds is None else seeds
        most = max(most, count)
        of = f"{name}: " if len(claims) > 1 else ""
        again = {premise.again for premise in claim.premises if isinstance(premise, Again)}
        beyond = sum(BEYOND * one.extend for one in claim.premises if isinstance(one, Inside))
        for arm in claim.arms:
            label, tune = f"{of}{arm}", claim.tune if arm in claim.tuned else None
            each = [experiment.experiment(claim, arm, point) for point in experiment.points(claim)]
            first, rates = each[0], f"at its best by {tune}" if tune else ""
            if tune:
                count_in(label, f"the best {tune.field}", first, rates, *tune.trials)
            for point, made in zip(experiment.points(claim), each, strict=True):
                at = "the comparison" if point is None else f"{claim.field} = {point}"
                count_in(label, at, made, f"compared {rates}", count, count)
                if arm in again:
                    count_in(label, f"{at}, with other seeds", made, f"again {rates}", count, count)
            if beyond:
                extra = beyond * count * (2 if arm in again else 1)
                count_in(label, f"{claim.field} beyond these", max(each, key=flops), "beyond", 0, extra)
            if claim.margin is not None and claim.margin.cec is not None and claim.margin.arm == arm:
                count_in(label, HALF, experiment.halved(first), f"half {rates}", count, count)
            same = counted[f"compared {rates}", to_yaml(first)]
            said = experiment.typed(claim, arm)
            arms.append((label, said if same == label else f"{said} (the runs of {same})"))
    return Forecast(
        asks=next(iter(claims.values())).statement if len(claims) == 1 else f"do {len(claims)} claims hold?",
        arms=arms,
        runs=runs,
        seeds=range(most),
        notes=[NOTE],
    )
