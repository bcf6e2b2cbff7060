"""What the ledger is told of a study. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from danlu import spec
from danlu.lab import evidence, ledger
from danlu.lab.study import Study
from danlu.lab.trial.answer import EQUAL, Answer
from danlu.lab.trial.arms import Idea
from danlu.lab.trial.findings import Finding
from danlu.lab.trial.question import Question


def ask(
    question: Question,
    study: Study,
    book: Path,
    baseline: spec.Experiment,
    variants: Mapping[Idea, spec.Experiment],
) -> list[str]:
    """Write down that each idea is asked about, before anything runs, so that what comes to nothing counts,
    too; a sentence for each that was answered before."""
    before = []
    for idea, variant in variants.items():
        about = ledger.about(idea.words, baseline, variant)
        before.append(ledger.seen(idea.name, question.on, sets=about["sets"], file=book))
        ledger.ask(
            idea=idea.name, on=question.on, at=f"equal {EQUAL['steps']}", statement=idea.statement,
            evidence=[study.path], file=book, **about,
        )  # fmt: skip
    return [said for said in before if said is not None]


def record(
    answer: Answer, book: Path, baseline: spec.Experiment, variants: Mapping[Idea, spec.Experiment]
) -> None:
    """Write down the verdicts, those of runs of their own."""
    ideas = {idea.name: (idea, variant) for idea, variant in variants.items()}
    for finding in answer.findings:
        idea, variant = ideas[finding.pairs.idea]
        if _has_runs_of_its_own(answer, finding):
            about = ledger.about(idea.words, baseline, variant)
            ledger.record(
                idea=idea.name, on=answer.question.on, statement=idea.statement, file=book,
                **about, **_verdict(answer, finding),
            )  # fmt: skip


def _has_runs_of_its_own(answer: Answer, finding: Finding) -> bool:
    idea, at = finding.pairs.idea, finding.pairs.at
    if finding.verdict == "void":
        return at == "steps"
    return finding.verdict != "not measured" and (
        at == "steps" or answer.sides[idea, at][1] != answer.sides[idea, "steps"][1]
    )


def _verdict(answer: Answer, finding: Finding) -> dict[str, Any]:
    pairs, void = finding.pairs, finding.verdict == "void"
    sides = answer.sides.get((pairs.idea, pairs.at), ())
    runs = [answer.runs.outcome(side, seed) for side in sides for seed in pairs.seeds]
    ended = [run.summary for run in runs[len(pairs.seeds) :] if run.summary is not None]
    sizes = [name for name in ("parameters", "steps", "tokens") if any(name in one for one in ended)]
    return {
        "verdict": finding.verdict,
        "why": finding.note if void else None,
        "at": f"equal {EQUAL[pairs.at]}",
        "effect": finding.interval.value,
        "interval": finding.interval[1:],
        "unit": pairs.metric.words,
        "seeds": len(pairs.seeds),
        "e": None if void else pairs.e,
        "regime": None if finding.regime is None else finding.regime.json(),
        "evidence": [answer.study.path],
        "code": evidence.keep(answer.study.path, [run.folder for run in runs]),
        "scale": {name: max(one.get(name, 0) for one in ended) for name in sizes} or None,
    }
