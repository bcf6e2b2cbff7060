"""A hundred questions one after another: what is believed that is not so, what is found, and what it costs.

In one kind of session nothing that is tried changes anything; in the other every fifth idea is worth a factor
of compute. Losses have the noise of a pool of real runs. The rules:

- *keep if lower*: one run an idea, kept where it is below the best so far: what an agent in a loop does. What
  is kept is the baseline of the next, here and in the next rule.
- *noise floor*: autojudge 1.0.1 (PyPI, MIT; ``estimate_noise_floor`` and ``compute_verdict``): three runs of
  the baseline first; the floor is the standard deviation of the differences of successive kept results, of
  the last five; an idea is kept where it lies below the best kept one by 1.5 floors.
- *pairs*: five pairs of runs an idea and the 95 % t interval, each question by itself.
- *ledger*: the same, and *better* only where the ledger holds it for a discovery (online e-BH at 10 %). Where
  the interval says better and the evidence is not there yet, there are further pairs, twenty at most: the
  evidence allows it at any time.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np

from bench.common import machine, save, show, verdict
from bench.noise import Noise, pools
from danlu.lab.statistics import decide, evidence, paired
from danlu.lab.statistics.agreement import wilson
from danlu.lab.statistics.online import discoveries, needed

QUESTIONS = 100
EVERY = 5  # of them one works, where any does
PAIRS, MOST_PAIRS = 5, 20
BASELINES, WINDOW, FLOORS = 3, 5, 1.5  # autojudge's
GAINS = (1.02, 1.05, 1.1)
BAR, POWER = 0.05, 0.8


class Session(NamedTuple):
    """What a session believed: true and false ideas; and the runs that it took."""

    true: int
    false: int
    runs: int


Run = Callable[[float], float]  # the loss of a run at some level


def keep_if_lower(effects: list[float], run: Run) -> Session:
    level, true, false = 0.0, 0, 0
    best = run(level)
    for effect in effects:
        if (loss := run(level + effect)) < best:
            best, level = loss, level + effect
            true, false = true + (effect < 0), false + (effect == 0)
    return Session(true, false, 1 + len(effects))


def noise_floor(effects: list[float], run: Run) -> Session:
    level, true, false = 0.0, 0, 0
    kept = [run(level) for _ in range(BASELINES)]
    for effect in effects:
        recent = kept[-WINDOW:]
        floor = stdev(b - a for a, b in pairwise(recent))
        loss = run(level + effect)
        if min(kept) - loss >= FLOORS * floor:
            kept.append(loss)
            level += effect
            true, false = true + (effect < 0), false + (effect == 0)
    return Session(true, false, BASELINES + len(effects))


def pairs(effects: list[float], run: Run) -> Session:
    true, false = 0, 0
    for effect in effects:
        if decide(paired(list(_differences(effect, run, PAIRS)))) == "better":
            true, false = true + (effect < 0), false + (effect == 0)
    return Session(true, false, 2 * PAIRS * len(effects))


def ledger(effects: list[float], run: Run) -> Session:
    """Evidence as it is at the end of the session; questions count in the order in which they were asked."""
    asked: list[list[float]] = []
    for t, effect in enumerate(effects, 1):
        differences = list(_differences(effect, run, PAIRS))
        found = sum(discoveries([evidence(one) for one in asked]))
        while (
            decide(paired(differences)) == "better"
            and evidence(differences) < needed(t, found)
            and len(differences) < MOST_PAIRS
        ):
            differences += _differences(effect, run, 1)
        asked.append(differences)
    said = discoveries([evidence(one) for one in asked])
    better = [
        effect
        for effect, one, discovery in zip(effects, asked, said, strict=True)
        if discovery and decide(paired(one)) == "better"
    ]
    return Session(sum(e < 0 for e in better), sum(e == 0 for e in better), 2 * sum(map(len, asked)))


RULES: dict[str, Callable[[list[float], Run], Session]] = {
    "keep if lower": keep_if_lower,
    "noise floor (autojudge 1.0.1)": noise_floor,
    "pairs": pairs,
    "ledger": ledger,
}


def sessions(
    rule: Callable[[list[float], Run], Session], noise: Noise, gain: float, count: int, seed: int = 1
) -> list[Session]:
    """``gain``: what every fifth idea is worth, as a factor of compute; 1 where nothing changes anything."""
    random = np.random.default_rng(seed)
    effect = -noise.elasticity * math.log(gain)
    effects = [effect if q % EVERY == EVERY - 1 and gain > 1 else 0.0 for q in range(QUESTIONS)]
    runs = _stream(noise, random)
    return [rule(effects, lambda level: level + next(runs)) for _ in range(count)]


def summary(found: list[Session], gain: float) -> dict[str, Any]:
    working = QUESTIONS // EVERY if gain > 1 else 0
    true = fmean(one.true for one in found)
    runs = fmean(one.runs for one in found)
    return {
        "sessions": len(found),
        "with_a_false_one": list(wilson(sum(one.false > 0 for one in found), len(found))),
        "false_a_session": fmean(one.false for one in found),
        "false_share": fmean(one.false / max(1, one.true + one.false) for one in found),
        "power": true / working if working else None,
        "runs": runs,
        "runs_a_true_one": runs / true if true else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sessions", type=int, default=400)
    parser.add_argument(
        "--quick", action="store_true", help="few sessions that show that it works; not saved"
    )
    arguments = parser.parse_args()
    count = 10 if arguments.quick else arguments.sessions
    about = machine(1)
    rows: list[tuple[str, ...]] = []
    results: dict[str, Any] = {}
    for name, noise in pools().items():
        results[name] = {"spread_of_a_run": noise.spread, "elasticity": noise.elasticity}
        for gain in (1.0, *GAINS):
            for rule, session in RULES.items():
                found = summary(sessions(session, noise, gain, count), gain)
                results[name].setdefault(f"{gain:g}", {})[rule] = found
                bar = ""
                if rule == "ledger" and gain == 1:
                    bar = verdict(found["with_a_false_one"][0], BAR, at_most=True)
                if rule == "ledger" and gain == 1.05 and name == "track 3":
                    bar = verdict(found["power"], POWER)
                power = f"{found['power']:.1%}" if found["power"] is not None else ""
                dear = f"{found['runs_a_true_one']:.0f}" if found["runs_a_true_one"] else ""
                said = (f"{found['with_a_false_one'][0]:.1%}", f"{found['false_a_session']:.2f}")
                what = "nothing" if gain == 1 else f"{gain:g}"
                numbers = (*said, f"{found['false_share']:.1%}", power, f"{found['runs']:.0f}", dear)
                rows.append((name, what, rule, *numbers, bar))
    heads = (
        "noise",
        "a fifth is worth",
        "rule",
        "sessions with a false one",
        "false a session",
        "false share",
    )
    title = f"{QUESTIONS} questions, {count} sessions a row"
    show(title, (*heads, "found", "runs", "runs a true one", "bar"), rows, about)
    if not arguments.quick:
        save("sessions", {"machine": about, "questions": QUESTIONS, "bar": BAR, "results": results})


def _differences(effect: float, run: Run, count: int) -> Iterator[float]:
    """Variant − baseline of so many pairs; the level of both is of no account."""
    return (run(effect) - run(0.0) for _ in range(count))


def _stream(noise: Noise, random: np.random.Generator) -> Iterator[float]:
    while True:
        yield from random.choice(noise.residuals, 10_000).tolist()


if __name__ == "__main__":
    main()
