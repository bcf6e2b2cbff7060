"""One rung more of ideas whose smaller rungs are kept: nothing that is kept is run again.

    python -m bench.next_rung --ideas lion,wsd [--studies DIR] [--workers N]

``bench.sizes`` runs the whole study where its runs are at hand. Where only its results are, in
``bench/results/sizes``, this takes both sides' rates and losses at the smaller rungs from there, and the
baseline at the next rung from an idea that was run to it; the idea's own side is rated and run as ever.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import sizes
from bench.common import machine, study_options
from danlu import spec
from danlu.lab.across import rates
from danlu.lab.across.answer import AtRung
from danlu.lab.across.rates import Rated
from danlu.lab.across.rungs import Rung, rungs
from danlu.lab.across.study import Climb, Question, bounded, side_of
from danlu.lab.budget import flops
from danlu.lab.queue import Queue
from danlu.lab.regime import Regime
from danlu.lab.study import Study
from danlu.lab.trial.arms import read_sides
from danlu.lab.trial.cost import Cost
from danlu.lab.trial.sides import Runs
from danlu.lab.tuning import Tuned, at, value_of


class OneMore(Climb):
    """A study of one idea that stands on its kept rungs. ``kept``: its file in the results."""

    def __init__(self, question: Question, kept: dict[str, Any], study: Study, runs: Runs) -> None:
        baseline, variants = read_sides(question.on, question.ideas)
        planned = rungs(baseline, len(kept["rungs"]) + 1)
        super().__init__(question, study, runs, planned, list(variants))
        (self.idea,) = self.ideas
        self.regime = Regime(**{name: value for name, value in kept["regime"].items() if name != "early"})
        for rung, found in zip(planned, kept["rungs"], strict=False):
            sides = (self._rated(found, "baseline", rung), self._rated(found, "variant", rung))
            for name, side in zip(("", self.idea.name), sides, strict=True):
                self.sides[name].append((math.log(rung.flops), side))
            before, after = (values(found, name) for name in ("baseline", "variant"))
            seeds = tuple(pair["seed"] for pair in found["pairs"])
            self.found[self.idea.name].append(
                AtRung(rung, *sides, seeds, before, after, found["variant_flops"])
            )

    def _rated(self, found: dict[str, Any], name: str, rung: Rung) -> Rated:
        """A side at a rung, from what is kept of it."""
        if found["rung"] != rung.json():
            raise SystemExit(f"rung {rung.level + 1} is another one here than that of the results")
        experiment = rung.baseline if name == "baseline" else rung.variant(self.idea.words)
        kept = found[name]
        if kept["rate"] is not None:
            factor = kept["rate"] / value_of(experiment, rates.GRID.field)
            experiment = at(experiment, rates.GRID.field, factor)
        experiment = bounded(experiment)
        tuned = None if kept["tuned"] is None else _tuned(kept["tuned"], experiment)
        return Rated(experiment, kept["rate"], tuned, kept["trials"], kept["off"], kept["why"])

    def one_more(self, known: dict[str, Any]) -> None:
        """The next rung; ``known``: the same of an idea that was run there, whose baseline is ours."""
        rung, name = self.planned[-1], self.idea.name
        baseline = self._rated(known, "baseline", rung)
        followed = rates.from_below(rung.baseline, self.sides[""], math.log(rung.flops))
        if (off := known["baseline"]["off"]) is not None:
            followed = rates.moved(followed, off)
        if followed.rate != baseline.rate:
            raise SystemExit(f"the baseline's rate at rung {rung.level + 1} would be {followed.rate:g} here")
        asked = (f"{self.question.on} {name}", bounded(rung.variant(self.idea.words)), self.sides[name])
        (variant,) = rates.followed(self.runs, [asked], math.log(rung.flops))
        side, seeds = side_of(self.question.on, name, variant.experiment), self._seeds(rung)
        if [pair["seed"] for pair in known["pairs"]] != list(seeds):
            raise SystemExit(f"the seeds at rung {rung.level + 1} are others than those of the results")
        self.runs.carry_out((side, seed) for seed in seeds)
        after = tuple(self.runs.metric(side, seed) for seed in seeds)
        self.found[name].append(
            AtRung(
                rung, baseline, variant, seeds, values(known, "baseline"), after, flops(variant.experiment)
            )
        )

    def _regime(self, name: str) -> Regime | None:
        return self.regime  # the least of all rungs, which is that of the smaller ones


def values(found: dict[str, Any], name: str) -> tuple[float, ...]:
    """The losses of a side by seed; nan where it diverged."""
    return tuple(math.nan if pair[name] is None else pair[name] for pair in found["pairs"])


def _tuned(kept: dict[str, Any], experiment: spec.Experiment) -> Tuned:
    curve = {float(rate): math.nan if value is None else value for rate, value in kept["curve"].items()}
    low, high = (math.nan if end is None else end for end in kept["interval"])
    return Tuned(experiment, kept["field"], kept["value"], low, high, curve, kept["trials"], kept["why"])


def run(idea: str, studies: Path, workers: int | None) -> None:
    """Carry out the next rung of ``idea`` and keep all."""
    kept = sizes.read()
    mine, level = kept[idea], len(kept[idea]["rungs"])
    other = next((one for one in kept.values() if len(one["rungs"]) > level), None)
    if other is None:
        raise SystemExit(f"no idea was run to rung {level + 1}: python -m bench.sizes --rungs {level + 1}")
    known = other["rungs"][level]
    question = Question((idea,), rungs=level + 1, gates=False, time=False)
    with Queue(studies, workers=workers) as queue:
        study = Study.open(studies, f"{question.name}-{level + 1}", {"verb": "try", "ideas": [idea]})
        climb = OneMore(question, mine, study, Runs(queue))
        climb.one_more(known)
        found = climb.answer().ideas[0].json()
    cost = _sum(mine["cost"], Cost.of(climb.runs.ended), known)
    (sizes.FOLDER / f"{idea}.json").write_text(
        json.dumps({"machine": machine(1), "cost": cost, **found}, indent=1, ensure_ascii=False) + "\n"
    )


def _sum(before: dict[str, Any], new: Cost, known: dict[str, Any]) -> dict[str, Any]:
    """What the study cost, the baseline's runs of this rung included; their seconds are counted once, with
    the idea that they were run for."""
    trials, pairs = known["baseline"]["trials"], len(known["pairs"])
    return {
        "runs": before["runs"] + new.runs + trials + pairs,
        "tuning": before["tuning"] + new.tuning + trials,
        "seconds": before["seconds"] + new.seconds,
        "flops": before["flops"] + new.flops + (trials + pairs) * known["rung"]["flops"],
    }


def main(words: Sequence[str] | None = None) -> None:
    parser = study_options(__doc__)
    parser.add_argument("--ideas", required=True)
    given = parser.parse_args(words)
    for idea in given.ideas.split(","):
        run(idea, given.studies, given.workers)


if __name__ == "__main__":
    main()
