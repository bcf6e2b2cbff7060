"""The study of ideas: baseline and variants, each at its own best rate, in pairs, at equal updates, equal
FLOPs and equal active time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from danlu import spec
from danlu.files.json import read_object, write_json
from danlu.lab import ledger
from danlu.lab.budget import MEASURING, Budget, measure_pace
from danlu.lab.errors import LabError
from danlu.lab.queue import Queue
from danlu.lab.queue.executors import cores
from danlu.lab.regime import Regime, regime_of
from danlu.lab.statistics import LEVEL, holm
from danlu.lab.study import STUDIES, Study
from danlu.lab.trial import cost, timing, words
from danlu.lab.trial.answer import Answer
from danlu.lab.trial.arms import Idea, is_of_rates, read_sides
from danlu.lab.trial.cost import Cost
from danlu.lab.trial.findings import At, Finding, Pairs, find
from danlu.lab.trial.kept import keep
from danlu.lab.trial.lengths import Equal, at_equal_flops, at_equal_steps, at_equal_time, doubt
from danlu.lab.trial.question import Question, label
from danlu.lab.trial.record import ask, record
from danlu.lab.trial.sides import Runs, Side
from danlu.lab.trial.timing import Ratio
from danlu.lab.tuning import Tuned, carry_out, tunable, tuning
from danlu.lab.why import Why, why
from danlu.spec.metrics import Metric

RATE = "optimizer.lr"
FIRST_LOOK = 2  # pairs before the first look of a study that may stop early
REMEMBERED = {
    "steps": (int, None), "seconds_per_step": (float, None), "looks": ([int], None),
    "ratios": ({...: {...: {"value": [float, float, float], "why": str}}}, None),
}  # fmt: skip
MEMORY = "plan.json"  # what was measured before or between the runs, so that a resumed study does the same


def try_ideas(
    question: Question,
    studies: Path = STUDIES,
    *,
    workers: int | None = None,
    show: bool = True,
    book: Path | None = ledger.LEDGER,
) -> Answer:
    """Carry out the study, or what is left of it, write ``result.json`` and tell the ledger ``book``. What is
    asked is said on stderr at once (``show``).

    Raises ``LabError``, ``SpecError``, ``DataError`` with one sentence, before anything runs where it can be
    known."""
    question, baseline, variants, of_rates = read(question)
    asked = {key: value for key, value in asdict(question).items() if key != "seeds"}
    study = Study.open(studies, question.name, {"verb": "try", **asked, "ideas": list(question.ideas)})
    with Queue(studies, workers=workers, show=show) as queue:
        for line in words.asked(question, list(variants), baseline.objective.metrics[0]):
            queue.say(line)
        with queue.alone(study.path):
            before = ask(question, study, book, baseline, variants) if book is not None else []
            trial = _Trial(question, study, Runs(queue), baseline, variants, of_rates)
            trial.begin(before, workers or cores(), show)
            findings = trial.findings()
            trial.remember(looks=sorted({*(trial.memory.get("looks") or ()), question.seeds}))
            study.save([finding.json() for finding in findings])
    answer = Answer(question, study, trial.steps, tuple(findings), trial.runs, trial.sides, trial.metrics)
    if book is not None:
        record(answer, book, baseline, variants)
    return answer


class Read(NamedTuple):
    """A question as it is carried out, its two sides, and the ideas that set nothing but a rate."""

    question: Question
    baseline: spec.Experiment
    variants: dict[Idea, spec.Experiment]
    of_rates: set[str]


def read(question: Question) -> Read:
    """Raises ``LabError`` or ``SpecError`` with one sentence for what cannot be asked."""
    question.check()
    baseline, variants = read_sides(question.on, question.ideas)
    of_rates = {idea.name for idea, variant in variants.items() if is_of_rates(baseline, variant)}
    if of_rates and question.tune:
        question = _untuned(question, of_rates, len(variants))
    return Read(question, baseline, variants, of_rates)


def _untuned(question: Question, of_rates: set[str], ideas: int) -> Question:
    """The question at the rates as they are: these are what it is about. Raises ``LabError`` where that is so
    of some ideas only."""
    if len(of_rates) < ideas:
        raise LabError(
            f"{min(of_rates)} sets nothing but a rate, which is found anew for the other ideas; ask about it "
            "alone, or give --tune none"
        )
    return replace(question, tune=None)


class _Trial:
    """One study on its way. ``of_rates``: ideas that set nothing but a rate."""

    def __init__(
        self,
        question: Question,
        study: Study,
        runs: Runs,
        baseline: spec.Experiment,
        variants: Mapping[Idea, spec.Experiment],
        of_rates: set[str],
    ) -> None:
        self.question, self.study, self.runs, self.of_rates = question, study, runs, of_rates
        path = study.path / MEMORY
        self.memory = read_object(path, REMEMBERED) if path.exists() else {}
        self.steps = self._steps(baseline)
        self.metrics: tuple[Metric, ...] = baseline.objective.metrics
        self.baseline = Side.of(question.on, baseline, self.steps)
        self.variants = {
            idea.name: Side.of(f"{question.on} {idea.name}", experiment, self.steps)
            for idea, experiment in variants.items()
        }
        self.tuned: dict[str, Tuned] = {}  # by idea, "" for the baseline
        self.void: dict[str, str] = {}  # ideas of which nothing can be said, and why
        self.ratios: dict[str, Ratio] = {}  # of seconds, by idea
        self.sides: dict[tuple[str, At], tuple[Side, Side]] = {}

    def remember(self, **what: Any) -> None:
        """Write down what must be the same when the study is gone on with."""
        self.memory |= what
        write_json(self.study.path / MEMORY, self.memory)

    def begin(self, before: Sequence[str], workers: int, show: bool) -> None:
        """Say how long it takes, and what is known of the question; nothing where this study was answered
        already."""
        if self.memory.get("looks") or not show:
            return
        for line in before:
            self.runs.queue.say(line)
        baseline = self.baseline.experiment
        pace = self._pace(baseline) / self.runs.queue.faster(baseline)
        self.runs.queue.say(cost.about(self.question, self.steps, pace, workers))

    def findings(self) -> list[Finding]:
        """Run what is needed; the verdicts."""
        if self.question.tune:
            self._tune()
        seeds = self._equal_steps()
        equal = {idea: self._equalities(idea, seeds[idea]) for idea in self.variants}
        self._keep(
            {(idea, at): (one.side, seeds[idea]) for idea, each in equal.items() for at, one in each.items()}
        )
        self.runs.carry_out(
            (side, seed)
            for idea, each in equal.items()
            for side in dict.fromkeys(one.side for one in each.values())
            if side is not None
            for seed in seeds[idea]
        )
        asked: list[Pairs] = []
        about: dict[tuple[str, At], dict[str, Any]] = {}
        for idea, each in equal.items():
            for at, one in each.items():
                asked.append(self._pairs(idea, at, one.side, seeds[idea]))
                about[idea, at] = self._about(idea, at, one, seeds[idea])
        return find(asked, self.looking, about, self.void)

    def _about(self, idea: str, at: At, equal: Equal, seeds: Sequence[int]) -> dict[str, Any]:
        """What a finding says beside its verdict."""
        side, variant = equal.side, self.variants[idea]
        if side is not None:
            self.sides[idea, at] = self.baseline, side
        rates = {"baseline": self.tuned.get(""), "variant": self.tuned.get(idea)}
        return {
            "steps": (self.baseline.steps, (side or variant).steps),
            "ratio": equal.cost,
            "note": equal.note,
            "regime": None if side is None else self._regime(idea, side, seeds),
            "tuned": {name: one.json() for name, one in rates.items() if one is not None} or None,
            "cost": Cost.of(self.runs.of({self.baseline.name, variant.name})),
            "why": self._why(variant, seeds) if at == "steps" and side is not None else Why(),
        }

    def _keep(self, asked: Mapping[tuple[str, At], tuple[Side | None, Sequence[int]]]) -> None:
        """Write down which runs the pairs are of."""
        folder = self.runs.folder
        found = {
            (idea, str(at)): [(seed, folder(self.baseline, seed), folder(side, seed)) for seed in seeds]
            for (idea, at), (side, seeds) in asked.items()
            if side is not None
        }
        keep(self.study.path, self.metrics, found)

    @property
    def looking(self) -> bool:
        """Whether somebody looked before the number of seeds was settled: then only the anytime interval
        holds."""
        return self.question.stop_early or any(
            seeds != self.question.seeds for seeds in self.memory.get("looks") or ()
        )

    # ---------------------------------------------------------------- lengths and rates

    def _steps(self, baseline: spec.Experiment) -> int:
        if self.memory.get("steps") is None:
            text = self.question.budget
            budget = Budget.parse(text) if text else Budget.of(baseline)
            pace = self._pace(baseline) if budget.unit == "seconds" else None
            self.remember(steps=budget.steps(baseline, pace))
        return int(self.memory["steps"])

    def _pace(self, baseline: spec.Experiment) -> float:
        """Seconds of an update of the baseline, measured once."""
        if self.memory.get("seconds_per_step") is None:
            self.runs.queue.say(MEASURING)
            self.remember(seconds_per_step=measure_pace(self.runs.queue, baseline))
        return float(self.memory["seconds_per_step"])

    def _tune(self) -> None:
        """Each side at its own best rate; one whose rule sets its own stays as it is."""
        sides = {"": self.baseline, **self.variants}
        sides = {name: side for name, side in sides.items() if tunable(side.experiment, RATE)}
        self.runs.queue.say("first: the best rate of each side")
        found = carry_out(self.runs, tuning([(side.name, side.experiment) for side in sides.values()]))
        self.tuned = dict(zip(sides, found, strict=True))
        at_best = {name: replace(sides[name], experiment=one.experiment) for name, one in self.tuned.items()}
        self.baseline = at_best.pop("", self.baseline)
        self.variants |= at_best
        for idea in self.variants:
            why = [self.tuned[name].why for name in ("", idea) if name in self.tuned]
            if any(why):
                self.void[idea] = "; ".join(filter(None, why))

    def _regime(self, idea: str, side: Side, seeds: Sequence[int]) -> Regime | None:
        """Of the runs of a comparison."""
        ended = [self.runs.outcome(one, seed).summary for one in (self.baseline, side) for seed in seeds]
        both = (self.baseline, self.variants[idea])
        asked = idea not in self.of_rates and any(tunable(one.experiment, RATE) for one in both)
        return regime_of(filter(None, ended), tuned=bool(self.question.tune) if asked else None)

    # ---------------------------------------------------------------- pairs

    def _equal_steps(self) -> dict[str, list[int]]:
        """Run the pairs of equal updates; the seeds that each idea came to have."""
        first = self.baseline.experiment.train.seed
        seeds: dict[str, list[int]] = {idea: [] for idea in self.variants}
        going = [idea for idea in self.variants if idea not in self.void]
        if going:
            self.runs.queue.say(f"now: {self.question.seeds} pairs of runs")
        every = range(first, first + self.question.seeds)
        self._keep({(idea, "steps"): (self.variants[idea], every) for idea in going})
        for batch in self._looks(every):
            if not going:
                break
            sides = [self.baseline, *(self.variants[idea] for idea in going)]
            self.runs.carry_out((side, seed) for seed in batch for side in sides)
            for idea in going:
                seeds[idea] += batch
            if self.question.stop_early:
                going = self._undecided(seeds, going)
        return seeds

    def _looks(self, seeds: Sequence[int]) -> Iterator[list[int]]:
        """The seeds between one look and the next: all at once, or the first and then one by one."""
        first = FIRST_LOOK if self.question.stop_early else len(seeds)
        yield list(seeds[:first])
        yield from ([seed] for seed in seeds[first:])

    def _undecided(self, seeds: Mapping[str, list[int]], going: Sequence[str]) -> list[str]:
        run = [idea for idea in self.variants if idea not in self.void]
        values = [
            self._pairs(idea, "steps", self.variants[idea], seeds[idea]).p(looking=True) for idea in run
        ]
        clear = {idea for idea, p in zip(run, holm(values), strict=True) if p <= 1 - LEVEL}
        return [idea for idea in going if idea not in clear]

    def _pairs(self, idea: str, at: At, variant: Side | None, seeds: Sequence[int]) -> Pairs:
        """None where the equality cannot be had."""
        if variant is None:
            return Pairs(idea, at, self.metrics[0], (), (), ())
        before, after = (
            tuple(self.runs.metric(side, seed) for seed in seeds) for side in (self.baseline, variant)
        )
        unsure = (0.0, 0.0)
        if at == "time" and idea in self.ratios:
            at_steps = [self.runs.metric(self.variants[idea], seed) for seed in seeds]
            both = list(zip(at_steps, after, strict=True))
            unsure = doubt(self.variants[idea], variant, both, self.ratios[idea])
        pairs = Pairs(idea, at, self.metrics[0], tuple(seeds), before, after, unsure)
        return replace(pairs, others=self._others(pairs, variant))

    def _others(self, pairs: Pairs, variant: Side) -> dict[str, Pairs]:
        """The same runs by other values that all of them have written down."""
        found = {}
        for way, (metric, read) in self.runs.other_values(self.metrics).items():
            before, after = (
                tuple(read(side, seed) for seed in pairs.seeds) for side in (self.baseline, variant)
            )
            other = replace(pairs, metric=metric, baseline=before, variant=after, doubt=(0.0, 0.0))
            if other.differences.keys() == pairs.differences.keys():
                found[way] = other
        return found

    # ---------------------------------------------------------------- equalities

    def _equalities(self, idea: str, seeds: Sequence[int]) -> dict[At, Equal]:
        """The variant at each equality."""
        side = self.variants[idea]
        if idea in self.void:
            nothing = Equal(None, None, self.void[idea])
            return {"steps": nothing, "flops": nothing, "time": nothing}
        by_flops = at_equal_flops(side, self.baseline)
        assert by_flops.cost is not None
        by_time = self._at_equal_time(idea, by_flops.cost, seeds)
        return {"steps": at_equal_steps(side, self.baseline), "flops": by_flops, "time": by_time}

    def _at_equal_time(self, idea: str, flops: float, seeds: Sequence[int]) -> Equal:
        side = self.variants[idea]
        if not self._pairs(idea, "steps", side, seeds).differences:
            return Equal(side, None, "the runs of equal steps: no pair ended, so that time decides nothing")
        self.ratios[idea] = self._ratio(idea, flops, seeds)
        return at_equal_time(side, self.ratios[idea])

    def _ratio(self, idea: str, flops: float, seeds: Sequence[int]) -> Ratio:
        """How many times as long an update takes: remembered for the machine, the PyTorch, the code and the
        experiments of both sides that it was measured with."""
        ended = [self.runs.outcome(side, seeds[0]) for side in (self.baseline, self.variants[idea])]
        ratios = self.memory.get("ratios") or {}
        of_idea, what = ratios.get(idea, {}), f"{idea} and of {label(self.question.on)}"
        ratio, key = timing.known_or_measured(self.runs.queue, what, (ended[0], ended[1]), flops, of_idea)
        if key is not None:
            self.remember(ratios=ratios | {idea: of_idea | {key: ratio.json()}})
        return ratio

    def _why(self, side: Side, seeds: Sequence[int]) -> Why:
        return why(self.runs.pairs(self.baseline, side, seeds).values())
