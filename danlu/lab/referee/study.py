"""The study of one question: trees made ready, the seed probed, arms tuned, blocks run, a verdict.

studies/referee.git                  the trees of all arms, which borrow the objects of your repository
studies/referee-NAME-KEY/seeds.json  drawn by the referee
studies/referee-NAME-KEY/trees/      an arm's files, as they are run
studies/referee-NAME-KEY/runs/       every run that ended
studies/referee-NAME-KEY/result.json, report.html
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from danlu.files import system
from danlu.files.json import read_object, write_json
from danlu.files.lock import Lock
from danlu.lab import ledger
from danlu.lab.errors import LabError
from danlu.lab.limits import SEEDS, within
from danlu.lab.referee import blocks, machine, scale
from danlu.lab.referee import book as ledgers
from danlu.lab.referee.answer import Answer
from danlu.lab.referee.blocks import Blocks
from danlu.lab.referee.errors import NoVerdict, Void
from danlu.lab.referee.findings import Finding, find, mean_of, premises
from danlu.lab.referee.plan import written
from danlu.lab.referee.question import Question, ask
from danlu.lab.referee.regime import regime
from danlu.lab.referee.runs import Runs
from danlu.lab.referee.seeds import Seeds, probe
from danlu.lab.referee.trees import Tree
from danlu.lab.referee.tuning import Curve, tune
from danlu.lab.referee.tuning import words as rate_words
from danlu.lab.referee.words import split
from danlu.lab.statistics.ahead import pairs_at
from danlu.lab.study import STUDIES, Study

LOOKS = "looks.json"
ALONE = ""  # the name of the only rung

Sets = dict[str, tuple[str, ...]]  # the words of each arm


def referee(
    file: Path,
    studies: Path = STUDIES,
    *,
    pairs: int | None = None,
    book: Path | None = ledger.LEDGER,
    tell: Callable[[str], None] = lambda line: None,
) -> Answer:
    """Answer the question in ``file``, or go on with it. ``pairs``: in place of the file's; ``book``: the
    ledger to tell. An answer may be that there is none: void, failed runs, a budget that is
    spent. Raises ``LabError`` and ``FileError`` for what cannot be asked."""
    if system.WINDOWS:
        raise LabError(system.NO_REFEREE)
    if pairs is not None:
        within("--pairs", pairs, SEEDS, 2)
    if book is not None:
        ledger.check(book)
    question = ask(file, studies, [] if book is None else [book, book.with_name(f".{book.name}.lock")])
    study = Study.open(studies, question.name, {"verb": "referee", "question": question.about})
    with Lock(study.path / ".lock", wait=0, named=True), machine.lock_gpus(tell):
        for note in question.notes:
            tell(note)
        on_its_way = _Asked(question, study, pairs or question.plan.budget.pairs, book, tell)
        try:
            answer = on_its_way.answer()
        except NoVerdict as error:
            cost, notes = on_its_way.cost(), question.notes
            answer = Answer(
                question, study, error.outcome, str(error), error.exit_code, cost=cost, notes=notes
            )
        except LabError as error:
            if book is not None and on_its_way.asked:
                ledgers.void(question, study, book, str(error))
            raise
        if book is not None and (on_its_way.asked or answer.outcome == "void"):
            answer = replace(answer, control=ledgers.record(answer, book))
        study.save(answer.json())
    return answer


class _Asked:
    """A question on its way to an answer of so many ``pairs``. ``asked``: the ledger knows of it, which it
    does once the baseline has run: what cannot start was not asked."""

    def __init__(
        self, question: Question, study: Study, pairs: int, book: Path | None, tell: Callable[[str], None]
    ) -> None:
        self.question, self.plan, self.study = question, question.plan, study
        self.pairs, self.book, self.tell, self.asked = pairs, book, tell, False
        self.seeds = Seeds(study.path)
        self.curves: dict[str, dict[str, Curve]] = {}  # by rung, by arm
        self._runs: Runs | None = None
        self._looks_file = study.path / LOOKS

    @property
    def runs(self) -> Runs:
        """The trees are made ready when the first run is asked for."""
        if self._runs is None:
            self._runs = Runs(self.plan, self.study.path, self._trees(), self.question.inputs, self.tell)
        return self._runs

    def answer(self) -> Answer:
        self.question.comparable()
        plan = self.plan
        rungs = self._rungs()
        smallest = next(iter(rungs))
        start = [] if plan.tune is None else rate_words(plan.tune, math.log2(plan.tune.start))
        base = (*self._sets(rungs[smallest])[plan.baseline], *start)
        probed = probe(self.runs, self.seeds, f"pairs{smallest}", base)
        self.tell(probed.said)
        if self.book is not None:
            ledgers.ask(self.question, self.study, self.book, self.tell)
            self.asked = True
        sets = self._tuned(rungs)
        first = probed.first if sets[smallest][plan.baseline] == base else 0
        counts = [pairs_at(level, self.pairs) for level in range(len(rungs))]
        self.tell(
            f"{sum(counts) * len(plan.arms)} runs to compare{''.join(f'; {x}' for x in self._fewer(counts))}"
        )
        found = {
            rung: blocks.carry_out(
                self.runs, self.seeds, rung, sets[rung], count, first if rung == smallest else 0
            )
            for rung, count in zip(rungs, counts, strict=True)
        }
        largest = list(found.values())[-1]
        held = premises(plan.premises, largest.records, plan.margin)
        if fallen := next((one for one in held if not one.holds), None):
            raise Void(f"a premise does not hold: {fallen}")
        looks = read_object(self._looks_file, {"looks": [int]})["looks"] if self._looks_file.exists() else []
        findings = self._findings(found, looking=any(look != self.pairs for look in looks))
        write_json(self._looks_file, {"looks": sorted({*looks, self.pairs})})
        return Answer(
            self.question,
            self.study,
            findings=findings,
            premises=held,
            regime=regime(largest.records[plan.baseline], None if plan.tune is None else True),
            tuned={r: {a: c.json(plan.metric.sign) for a, c in of.items()} for r, of in self.curves.items()},
            cost=self.cost(),
            notes=[probed.said, *self._speed(largest), *self._fewer(counts), *self.question.notes],
        )

    def cost(self) -> dict[str, float]:
        """Runs and seconds so far, those of tuning apart."""
        done = [*self._runs.done.values()] if self._runs is not None else []
        tuning = [record.seconds for run, record in done if run.purpose == "tune"]
        return {
            "runs": len(done),
            "seconds": sum(record.seconds for _, record in done),
            "tuning_runs": len(tuning),
            "tuning_seconds": sum(tuning),
        }

    def _trees(self) -> dict[str, Tree]:
        """Each arm's tree, made ready; arms of the same files share one."""
        question, plan = self.question, self.plan
        question.inputs.bring(self.study.path / "inputs")
        setup = split(plan.setup, "setup") if plan.setup else None
        made: dict[str, Tree] = {}
        for name, digest in question.trees.items():
            if digest in made:
                continue
            for module in question.repository.submodules(digest):
                self.tell(f"{name}: {module} is a repository of its own and stays empty; setup may fill it")
            place = self.study.path.absolute() / "trees" / digest[:16]
            tree = Tree(question.repository, digest, place, plan.protect, question.inputs)
            tree.make_ready(setup, machine.variables(plan.env), plan.budget.kill_seconds)
            made[digest] = tree
        return {name: made[digest] for name, digest in question.trees.items()}

    def _rungs(self) -> dict[str, list[str]]:
        """The words of each rung by its name; of a program that is not scaled, none."""
        asked = self.plan.scale
        return {ALONE: []} if asked is None else {written(v): scale.words(asked, v) for v in asked.values}

    def _sets(self, rung: Sequence[str]) -> Sets:
        arms = self.plan.arms.items()
        return {name: (*split(arm.set, f"arms.{name}.set"), *rung) for name, arm in arms}

    def _tuned(self, rungs: Mapping[str, list[str]]) -> dict[str, Sets]:
        """The words of every arm at every rung, with the best rate where arms are tuned: found at the first
        and third rung (at each of two), and at the others on the line through these, in log of the rate."""
        names = list(rungs)
        sets = {rung: self._sets(words) for rung, words in rungs.items()}
        if self.plan.tune is None:
            return sets
        low, high = 0, min(2, len(names) - 1)
        for rung in dict.fromkeys((names[low], names[high])):
            self.curves[rung] = tune(self.runs, self.seeds, f"tune{rung}", sets[rung])
        for place, rung in enumerate(names):
            share = (place - low) / (high - low) if high > low else 0.0
            for arm, words in sets[rung].items():
                one, other = (self.curves[names[end]][arm].optimum.x for end in (low, high))
                sets[rung][arm] = (*words, *rate_words(self.plan.tune, one + share * (other - one)))
        return sets

    def _findings(self, found: Mapping[str, Blocks], looking: bool) -> list[Finding]:
        plan, ideas = self.plan, self.question.ideas
        by_rung = {rung: [one.sides(plan.baseline, idea) for idea in ideas] for rung, one in found.items()}
        findings = find(list(by_rung.values())[-1], plan.metric, plan.margin, looking)
        if plan.scale is None:
            return findings
        return scale.among(
            [
                scale.across(finding, {rung: sides[i] for rung, sides in by_rung.items()}, plan.metric.sign)
                for i, finding in enumerate(findings)
            ]
        )

    def _fewer(self, counts: Sequence[int]) -> list[str]:
        """That upper rungs have fewer pairs than were asked for."""
        if min(counts) == self.pairs:
            return []
        return [f"pairs by rung: {', '.join(map(str, counts))}; the largest cost the most, and have fewer"]

    def _speed(self, found: Blocks) -> list[str]:
        """Of a program that ends by the clock: how many steps each idea made, so that speed is told from
        quality."""
        base = mean_of(found.records[self.plan.baseline], "steps")
        if not (self.plan.timed and base):
            return []
        steps = {idea: mean_of(found.records[idea], "steps") for idea in self.question.ideas}
        return [f"{idea} made {count / base:.3g} times the steps" for idea, count in steps.items() if count]
