"""How often a verdict across scale is false, what it finds, and what gates between rungs spare, by simulation
with the noise of real runs.

Both sides follow L = E + A·C^−α with the seeds that ``danlu try --across-scale`` takes. The variant's compute
counts for some factor more, the same at every rung or fading with size. Losses have the noise of a pool of
runs; a share of it is common to both sides of a seed. Each study is judged two rungs beyond its largest, once
as a whole and once with gates between the rungs.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from bench.common import machine, save, show, verdict
from bench.noise import Noise, pools
from danlu.lab.statistics.across import fit, judge, known
from danlu.lab.statistics.agreement import wilson
from danlu.lab.statistics.ahead import FUTILE, Ahead, chance_of_better
from danlu.lab.statistics.gain import AtCost, gains

SEEDS = (5, 5, 4, 3, 3)
FACTOR = 4.0  # of compute between rungs
ALPHA = 0.1
AT = (len(SEEDS) + 1) * math.log(FACTOR)
# ln gain at the first rung and its change from rung to rung
IDEAS = {
    "nothing": (0.0, 0.0),
    "1.02": (math.log(1.02), 0.0),
    "1.05": (math.log(1.05), 0.0),
    "1.1": (math.log(1.1), 0.0),
    "1.2, fading to nothing": (math.log(1.2), -math.log(1.2) / (len(SEEDS) + 1)),
}
SHARED = (0.0, 0.6)  # of the variance of a run, by both sides of a seed
WORDS = ("better", "worse", "equivalent", "scale-bound")
BAR, POWER = 0.05, 0.8


class Ended(NamedTuple):
    """A study: its verdict, whether the prediction covers the truth, the rungs that gates let be run, and the
    share of the compute that these are."""

    verdict: str
    covers: bool
    rungs: int
    spent: float


def losses(
    idea: tuple[float, float], noise: Noise, shared: float, random: np.random.Generator
) -> list[AtCost]:
    """A study's runs; the elasticity is the pool's at the largest rung."""
    at, fading = idea
    found = []
    for r, n in enumerate(SEEDS):
        common = math.sqrt(shared) * random.choice(noise.residuals, n)
        sides = []
        for worth in (1.0, math.exp(at + fading * r)):
            of_law = noise.elasticity / ALPHA * (worth * FACTOR ** (r + 1 - len(SEEDS))) ** -ALPHA
            own = math.sqrt(1 - shared) * random.choice(noise.residuals, n)
            sides.append(tuple((of_law + common + own).tolist()))
        found.append(AtCost(FACTOR**r, sides[0], sides[1]))
    return found


def study(rungs: list[AtCost], truth: float) -> Ended:
    """Of all rungs; ``rungs`` of it tells where the first gate closed."""
    whole = judge(gains(rungs), AT)
    open_until = len(rungs)
    for k in range(2, len(rungs)):
        so_far = known(gains(rungs[:k]))
        if len(so_far) < k:
            continue
        model = fit([g.x for g in so_far], [g.value for g in so_far], [g.variance for g in so_far])
        per_pair = so_far[-1].variance * so_far[-1].pairs
        rest = [
            Ahead(math.log(rung.cost), per_pair / len(rung.baseline), rung.cost * len(rung.baseline))
            for rung in rungs[k:]
        ]
        if chance_of_better(model, rest, AT) < FUTILE:
            open_until = k
            break
    cost = [rung.cost * len(rung.baseline) for rung in rungs]
    covers = whole.gain.low <= truth <= whole.gain.high
    return Ended(whole.verdict, covers, open_until, sum(cost[:open_until]) / sum(cost))


def summary(found: list[Ended]) -> dict[str, Any]:
    """Shares of the studies."""
    n = len(found)
    said = Counter(one.verdict for one in found)
    passed = [one for one in found if one.rungs == len(SEEDS)]
    return {
        "studies": n,
        "verdicts": {word: count / n for word, count in said.most_common()},
        "better": list(wilson(said["better"], n)),
        "false_side": said["worse"] / n,
        "covered": list(wilson(sum(one.covers for one in found), n)),
        "better_through_gates": list(wilson(sum(one.verdict == "better" for one in passed), n)),
        "stopped_by_gates": 1 - len(passed) / n,
        "compute_with_gates": sum(one.spent for one in found) / n,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000, help="of each kind of idea")
    parser.add_argument("--quick", action="store_true", help="few studies that show that it works; not saved")
    arguments = parser.parse_args()
    studies = 20 if arguments.quick else arguments.studies
    about = machine(1)
    rows: list[tuple[str, ...]] = []
    results: dict[str, Any] = {}
    for name, noise in pools().items():
        in_compute = noise.spread / noise.elasticity
        results[name] = {"spread_of_a_run": noise.spread, "in_ln_compute": in_compute}
        for shared in SHARED:
            for idea, (at, fading) in IDEAS.items():
                random = np.random.default_rng(1)
                truth = at + fading * (len(SEEDS) + 1)
                found = summary(
                    [study(losses((at, fading), noise, shared, random), truth) for _ in range(studies)]
                )
                results[name][f"{idea}, shared {shared:g}"] = found
                better = found["better"][0]
                bar = "" if truth > 1e-9 else verdict(better, BAR, at_most=True)
                if idea == "1.05" and name == "track 3":
                    bar = verdict(better, POWER)
                said = [found["verdicts"].get(word, 0.0) for word in WORDS[1:]]
                gated = (found["better_through_gates"][0], found["compute_with_gates"])
                numbers = (f"{share:.1%}" for share in (better, *said, found["covered"][0], *gated))
                rows.append((name, f"{shared:g}", idea, *numbers, bar))
    heads = ("noise", "shared", "gain", *WORDS, "covered", "gated: better", "compute", "bar")
    show(f"Verdicts two rungs beyond five, {studies} studies a row", heads, rows, about)
    if not arguments.quick:
        save("across", {"machine": about, "seeds": SEEDS, "bar": BAR, "power": POWER, "results": results})


if __name__ == "__main__":
    main()
