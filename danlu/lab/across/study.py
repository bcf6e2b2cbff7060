"""``try --across-scale``: both sides of each idea tuned and paired at every rung, gains in compute, a verdict
two rungs beyond.

The baseline's runs serve all ideas. Between rungs an idea ends where a side is untuned, which voids it, and
where it has no chance left to be shown better (a gate), unless all rungs are asked for: a gate cannot make a
*better*, which needs all gates and the test at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from danlu import spec
from danlu.files.json import read_object, write_json
from danlu.lab import ledger
from danlu.lab.across import book as books
from danlu.lab.across import rates
from danlu.lab.across.answer import Across, AtRung, Look, Scaled, Verdict
from danlu.lab.across.rates import Rated
from danlu.lab.across.rungs import GROWTH, MOST, Rung, rungs
from danlu.lab.budget import MEASURING, measure_pace
from danlu.lab.budget import flops as flops_of
from danlu.lab.errors import LabError
from danlu.lab.forecast import AROUND
from danlu.lab.limits import SEEDS, within
from danlu.lab.queue import Outcome, Queue
from danlu.lab.queue.executors import cores
from danlu.lab.regime import Regime, regime_of
from danlu.lab.statistics import NORMAL
from danlu.lab.statistics.across import BEYOND, Judged, fit, judge, known
from danlu.lab.statistics.ahead import FUTILE, Ahead, Way, chance_of_better, ways
from danlu.lab.statistics.gain import AtCost, Gain, gains
from danlu.lab.statistics.shrink import shrink, spread_of_ideas
from danlu.lab.study import STUDIES, Study, folder_name
from danlu.lab.trial import timing
from danlu.lab.trial.arms import Idea, not_of_rates, read_sides
from danlu.lab.trial.cost import Cost, on_cores
from danlu.lab.trial.kept import keep
from danlu.lab.trial.question import PAIRS, bed_of, label, plain
from danlu.lab.trial.sides import Runs, Side
from danlu.lab.trial.timing import TIMING, Ratio
from danlu.spec.metrics import Metric

MEMORY = "times.json"  # ratios of seconds, by what they hold for
REMEMBERED: dict[Any, Any] = {...: {"value": [float, float, float], "why": str}}


@dataclass(frozen=True)
class Question:
    """What is asked: ``ideas`` on the baseline's words ``on`` (none: those of ``bed_of``), at ``rungs``
    sizes, with ``seeds`` pairs at the first and fewer at the dear ones. ``gates``: end an idea early that has
    no chance; ``time``: also at equal time."""

    ideas: tuple[str, ...]
    on: str = ""
    rungs: int = 4
    seeds: int = PAIRS
    gates: bool = True
    time: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "ideas", plain(self.ideas))
        object.__setattr__(self, "on", self.on or bed_of(self.ideas))

    @property
    def name(self) -> str:
        """The study's, so that the same command finds its runs again."""
        return folder_name("-".join(["across", *self.ideas, "on", self.on]))


def try_across(
    question: Question,
    studies: Path = STUDIES,
    *,
    workers: int | None = None,
    show: bool = True,
    book: Path | None = ledger.LEDGER,
) -> Across:
    """Carry out the study, or what is left of it, write ``result.json`` and tell the ledger ``book``.

    Raises ``LabError``, ``SpecError``, ``DataError`` with one sentence, before anything runs where it can be
    known."""
    baseline, variants, planned = read(question)
    asked = {"verb": "try", "across_scale": True, "ideas": list(question.ideas), "on": question.on}
    study = Study.open(studies, question.name, asked)
    if book is not None:
        for idea, experiment in variants.items():
            books.ask(idea, question.on, baseline, experiment, study, book)
    with Queue(studies, workers=workers, show=show) as queue, queue.alone(study.path):
        climb = Climb(question, study, Runs(queue), planned, list(variants))
        if show and study.result() is None:
            climb.begin(workers or cores())
        climb.carry_out()
        answer = climb.answer()
        study.save(answer.json())
        if book is not None:
            for one in answer.ideas:
                runs = [outcome.folder for outcome in climb.ended(one.idea)]
                books.record(one, question.on, study, runs, book)
    return answer


class Read(NamedTuple):
    """A question's two sides at the first size, and all sizes."""

    baseline: spec.Experiment
    variants: dict[Idea, spec.Experiment]
    rungs: list[Rung]


def read(question: Question) -> Read:
    """Raises ``LabError`` or ``SpecError`` with one sentence for what cannot be asked."""
    within("--seeds", question.seeds, SEEDS, least=2)
    baseline, variants = read_sides(question.on, question.ideas)
    not_of_rates(baseline, variants)
    planned = rungs(baseline, question.rungs)
    for rung in planned:
        for idea in variants:
            rung.variant(idea.words)
    return Read(baseline, variants, planned)


def asks(question: Question, ideas: Iterable[str], metric: Metric) -> str:
    """The question itself."""
    return (
        f"how much compute is {' or '.join(ideas)} worth, over sizes of {question.on}? by "
        f"held-out {metric.words}, {metric.better} is better"
    )


class Climb:
    """One study on its way up. ``sides``: their rates by rung, the baseline's under ""; ``found``: what came
    out."""

    def __init__(
        self, question: Question, study: Study, runs: Runs, planned: Sequence[Rung], ideas: Sequence[Idea]
    ) -> None:
        self.question, self.study, self.runs = question, study, runs
        self.planned, self.ideas = planned, ideas
        self.metric = planned[0].baseline.objective.metrics[0]
        self.sides: dict[str, list[tuple[float, Rated]]] = {name: [] for name in ("", *self._names)}
        self.found: dict[str, list[AtRung]] = {name: [] for name in self._names}
        self.stopped: dict[str, int] = {}
        self.pairs: dict[tuple[str, str], list[tuple[int, Path, Path]]] = {}
        path = study.path / MEMORY
        self.times: dict[str, Any] = read_object(path, REMEMBERED) if path.exists() else {}

    @property
    def _names(self) -> list[str]:
        return [idea.name for idea in self.ideas]

    def begin(self, workers: int) -> None:
        """Say what is asked, and how long it takes where no idea ends early."""
        say = self.runs.queue.say
        say(asks(self.question, self._names, self.metric))
        runs = [self._runs(rung) for rung in self.planned]
        sizes = ", ".join(f"{rung.parameters:,}" for rung in self.planned)
        say(
            f"about {sum(runs)} runs at {len(runs)} sizes ({sizes} parameters), those that find the rates too"
        )
        queue = self.runs.queue
        say(f"{MEASURING} at each size")
        paces = [measure_pace(queue, rung.baseline) / queue.faster(rung.baseline) for rung in self.planned]
        each = zip(runs, self.planned, paces, strict=True)
        seconds = AROUND * math.fsum(count * rung.updates * pace for count, rung, pace in each)
        seconds += TIMING * workers * len(runs) * len(self.ideas) * self.question.time
        say(on_cores(seconds / workers, workers))

    def _runs(self, rung: Rung) -> int:
        trials = len(rates.BESIDE) if rung.level else rates.GRID.points * rates.GRID.seeds
        return (1 + len(self.ideas)) * (rung.pairs(self.question.seeds) + trials)

    def carry_out(self) -> None:
        """All rungs, of each idea as far as it goes."""
        for rung in self.planned:
            going = [idea for idea in self.ideas if idea.name not in self.stopped]
            if not going:
                return
            self._rate(rung, going)
            seeds = self._seeds(rung)
            at = {name: self.sides[name][-1][1] for name in ("", *(idea.name for idea in going))}
            run = {name: side_of(self.question.on, name, rated.experiment) for name, rated in at.items()}
            self._keep(rung, run, seeds)
            self.runs.carry_out((side, seed) for seed in seeds for side in run.values())
            values = {name: tuple(self.runs.metric(s, seed) for seed in seeds) for name, s in run.items()}
            for idea in going:
                name = idea.name
                self.found[name].append(
                    AtRung(
                        rung, at[""], at[name], seeds, values[""], values[name],
                        flops_of(run[name].experiment), self._time(rung, name, run[""], run[name], seeds[0]),
                        self.runs.pairs(run[""], run[name], seeds),
                    )
                )  # fmt: skip
                if rung is self.planned[-1]:
                    continue
                if at[""].why or at[name].why or (self.question.gates and self._futile(name)):
                    self.stopped[name] = rung.level

    def _keep(self, rung: Rung, run: Mapping[str, Side], seeds: Sequence[int]) -> None:
        """Write down which runs the pairs are of, those of this rung too."""
        folder, baseline = self.runs.folder, run[""]
        for name in run.keys() - {""}:
            pairs = [(seed, folder(baseline, seed), folder(run[name], seed)) for seed in seeds]
            self.pairs[name, f"rung {rung.level}"] = pairs
        keep(self.study.path, self.planned[0].baseline.objective.metrics, self.pairs)

    def _rate(self, rung: Rung, going: Sequence[Idea]) -> None:
        """Each side's rate at the rung."""
        asked = [
            (f"{self.question.on} {name}".strip(), bounded(experiment), self.sides[name])
            for name, experiment in [
                ("", rung.baseline), *((idea.name, rung.variant(idea.words)) for idea in going)
            ]
        ]  # fmt: skip
        x = math.log(rung.flops)
        rated = rates.followed(self.runs, asked, x) if rung.level else rates.tuned(self.runs, asked)
        for name, one in zip(("", *(idea.name for idea in going)), rated, strict=True):
            self.sides[name].append((x, one))

    def _seeds(self, rung: Rung) -> tuple[int, ...]:
        first = rung.baseline.train.seed
        return tuple(range(first, first + rung.pairs(self.question.seeds)))

    def _time(self, rung: Rung, name: str, baseline: Side, variant: Side, seed: int) -> Ratio | None:
        """How many times as long an update takes at this rung: remembered for machine, PyTorch and code."""
        if not self.question.time:
            return None
        ratio = flops_of(variant.experiment) / flops_of(baseline.experiment)
        ended = self.runs.outcome(baseline, seed), self.runs.outcome(variant, seed)
        what = f"{name} and of {label(self.question.on)}"
        found, key = timing.known_or_measured(self.runs.queue, what, ended, ratio, self.times)
        if key is not None:
            self.times[key] = found.json()
            write_json(self.study.path / MEMORY, self.times)
        return found

    def ended(self, name: str) -> list[Outcome]:
        """The runs of the pairs of an idea."""
        return [
            self.runs.outcome(side_of(self.question.on, label, rated.experiment), seed)
            for one in self.found[name]
            for label, rated in (("", one.baseline), (name, one.variant))
            for seed in one.seeds
        ]

    # ---------------------------------------------------------------- judging

    def _gains(self, name: str) -> list[Gain]:
        found = self.found[name]
        if len(found) < 2:
            return []
        sign = self.metric.sign
        return gains(
            [
                AtCost(
                    one.rung.flops,
                    tuple(sign * value for value in one.before),
                    tuple(sign * value for value in one.after),
                    one.flops,
                )
                for one in found
            ]
        )

    def _futile(self, name: str) -> bool:
        done = known(self._gains(name))
        if len(done) < 2:
            return False
        model = fit([g.x for g in done], [g.value for g in done], [g.variance for g in done])
        last = done[-1]
        ahead = [
            Ahead(math.log(rung.flops), last.variance * last.pairs / rung.pairs(self.question.seeds))
            for rung in self.planned[len(self.found[name]) :]
        ]
        return chance_of_better(model, ahead, self._target(self.planned)) < FUTILE

    def _target(self, reached: Sequence[Rung]) -> float:
        """ln compute where the verdict is: two rungs beyond the largest."""
        x = [math.log(rung.flops) for rung in reached]
        step = (x[-1] - x[0]) / (len(x) - 1) if len(x) > 1 else math.log(GROWTH)
        return x[-1] + BEYOND * min(step, x[-1] - x[-2] if len(x) > 1 else step)

    def answer(self) -> Across:
        """What came out so far."""
        scaled = [self._scaled(idea) for idea in self.ideas]
        spread = spread_of_ideas(
            [(one.judged.gain.value, _error(one.judged)) for one in scaled if one.judged is not None]
        )
        shrunk = tuple(
            one if one.judged is None
            else replace(one, shrunk=shrink(one.judged.gain.value, _error(one.judged), spread))
            for one in scaled
        )  # fmt: skip
        look = Look(max(map(len, self.found.values())), self.question.seeds)
        return Across(
            self.question.on,
            self.study,
            tuple(self.planned),
            shrunk,
            Cost.of(self.runs.ended),
            look,
            self._before(look),
        )

    def _scaled(self, idea: Idea) -> Scaled:
        found = self.found[idea.name]
        by_flops = self._gains(idea.name)
        by_time = [
            _at_time(gain, one) for gain, one in zip(by_flops, found, strict=False)
        ] if found and all(one.time is not None and one.time.known for one in found) else []  # fmt: skip
        untuned = [side.why for one in found for side in (one.baseline, one.variant) if side.why]
        judged = judged_time = None
        verdict: Verdict = "not shown"
        why = "one rung says nothing of scale"
        if by_flops:
            target = self._target([one.rung for one in found])
            try:
                judged = judge(by_flops, target)
                verdict, why = judged.verdict, judged.why
            except LabError as error:  # the gain is known at too few rungs, equal time or not
                why = str(error)
            else:
                judged_time = judge(by_time, target) if by_time else None
        if untuned:
            verdict, why = "void", untuned[0]
        return Scaled(
            idea=idea.name, statement=idea.statement, metric=self.metric, at=tuple(found),
            gains=tuple(by_flops), timed=tuple(by_time), judged=judged, judged_time=judged_time,
            shrunk=None, verdict=verdict, why=why, regime=self._regime(idea.name),
            stopped=self.stopped.get(idea.name),
            ways=tuple(self._ways(judged, idea.name, by_flops)) if verdict == "not shown" else (),
        )  # fmt: skip

    def _ways(self, judged: Judged | None, name: str, gains: Sequence[Gain]) -> list[Way]:
        """What would narrow the interval of an idea that was run at all rungs and has these ``gains``."""
        found, count = self.found[name], len(self.planned)
        if judged is None or judged.model is None or len(found) < count or count == MOST:
            return []
        new = rungs(self.planned[0].baseline, count + 1)[-1]
        pair = found[-1].flops / found[-1].rung.flops
        last, seeds = known(gains)[-1], self.question.seeds
        checks = found[-1].baseline.trials + found[-1].variant.trials * pair
        ahead = Ahead(
            math.log(new.flops),
            last.variance * last.pairs / new.pairs(seeds),
            new.flops * (new.pairs(seeds) * (1 + pair) + checks),
        )
        target = self._target([*self.planned, new])
        if self.question.gates and chance_of_better(judged.model, [ahead], target) < FUTILE:
            return []  # it would end before that
        again = math.fsum((one.rung.flops + one.flops) * len(one.seeds) for one in found)
        return ways(judged.model, again, judged.at, ahead)

    def _before(self, look: Look) -> tuple[Look, ...]:
        """The other looks at this study, by the result that is there."""
        there = self.study.result() or {}
        found = [*there.get("before", ()), *([there["look"]] if "look" in there else ())]
        return tuple(one for one in dict.fromkeys(Look(**kept) for kept in found) if one != look)

    def _regime(self, name: str) -> Regime | None:
        tuned = all(not side.why for one in self.found[name] for side in (one.baseline, one.variant))
        summaries = [outcome.summary for outcome in self.ended(name) if outcome.summary is not None]
        return regime_of(summaries, tuned=tuned)


def bounded(experiment: spec.Experiment) -> spec.Experiment:
    """As the runs of pairs are, so that equal ones are one run."""
    from danlu.train.plan import updates_of

    updates = updates_of(experiment)
    assert updates is not None
    return Side.of("", experiment, updates).experiment


def side_of(on: str, name: str, experiment: spec.Experiment) -> Side:
    return Side(f"{on} {name}".strip(), experiment)


def _at_time(gain: Gain, one: AtRung) -> Gain:
    """The gain at equal seconds: the ratio of FLOPs gives way to that of seconds, whose error is added."""
    assert one.time is not None
    ratio, low, high = one.time.value
    error = (math.log(high) - math.log(low)) / (2 * NORMAL)
    return replace(
        gain,
        value=gain.value + math.log(one.flops / one.rung.flops) - math.log(ratio),
        variance=gain.variance + error**2,
    )


def _error(judged: Judged) -> float:
    """The standard error of a normal distribution with this 95 % interval, which counts in how few rungs
    there are."""
    return (judged.gain.high - judged.gain.low) / (2 * NORMAL)
