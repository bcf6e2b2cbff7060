"""What the ledger is told: the question when it is asked, the answer when there is one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from danlu.lab import ledger
from danlu.lab.referee import machine
from danlu.lab.referee.answer import Answer
from danlu.lab.referee.findings import Finding, mean_of
from danlu.lab.referee.question import Question
from danlu.lab.study import Study


def ask(question: Question, study: Study, book: Path, tell: Callable[[str], None]) -> None:
    """Write the question on each idea down before its first run; tell what was answered before."""
    for idea in question.ideas:
        about = _about(question, study, idea)
        before = ledger.seen(idea, about["on"], sets=about["sets"], file=book)
        if before is not None:
            tell(before)
        ledger.ask(**about, file=book)


def record(answer: Answer, book: Path) -> dict[str, str]:
    """Write the verdict on each idea down, or that it is void; of each that claims something, whether it
    ``stands`` among all that the ledger was asked, ``alone``, or by its ``interval only``. What the budget
    cut short stays asked: it can go on."""
    question, study = answer.question, answer.study
    if answer.outcome in ("void", "failed"):
        void(question, study, book, answer.why)
    ids = {}
    for finding in answer.findings:
        about = _about(question, study, finding.idea) | _found(answer, finding)
        ids[finding.idea] = ledger.record(**about, file=book).id
    said = ledger.control(ledger.read(book)) if ids else {}
    return {idea: said[id] for idea, id in ids.items() if id in said}


def void(question: Question, study: Study, book: Path, why: str) -> None:
    """Write down that there is no answer, and why."""
    for idea in question.ideas:
        ledger.record(**_about(question, study, idea), verdict="void", seeds=0, why=why, file=book)


def _about(question: Question, study: Study, idea: str) -> dict[str, Any]:
    """What is asked."""
    plan, program = question.plan, question.program
    base, arm = question.trees[plan.baseline], plan.arms[idea]
    changed = question.repository.differing(base, question.trees[idea])
    tree = {"tree": question.trees[idea][:16]} if changed else {}
    return {
        "idea": idea,
        "on": f"{program} {plan.baseline} {base[:8]}, {_bed(question)}",
        "statement": f"{idea} makes {plan.metric.name} of {program} {plan.metric.better}",
        "family": program,
        "sets": tree | ({"set": arm.set} if arm.set else {}),
        "tags": changed[:10],
        "evidence": [study.path],
    }


def _bed(question: Question) -> str:
    """What else makes it this question and no other: in words what changes most, and a digest of all."""
    plan, words = question.plan, [f"by {question.plan.metric.name}"]
    if plan.scale is not None:
        words.append(f"over {len(plan.scale.values)} rungs")
    if plan.tune is not None:
        words.append("at tuned rates")
    return f"{' '.join(words)} ({machine.digest(question.bed)[:8]})"


def _found(answer: Answer, finding: Finding) -> dict[str, Any]:
    """What came out."""
    gain, records = finding.gain, finding.sides.variant
    known = gain if gain is not None and math.isfinite(gain.value) else None
    sizes = {name: mean_of(records, name) for name in ("parameters", "steps", "tokens")}
    return {
        "verdict": finding.verdict,
        "why": finding.why,
        "effect": finding.interval.value,
        "interval": (finding.interval.low, finding.interval.high),
        "unit": answer.question.plan.metric.name,
        "seeds": len(finding.sides.differences),
        "e": finding.e,
        "gain": known._asdict() if known else None,
        "rungs": [
            {
                "flops": one["compute"] if one["counted in"] == "FLOPs" else None,
                "value": one["gain"],
                "low": one["low"],
                "high": one["high"],
            }
            for one in finding.gains
            if math.isfinite(one["gain"])
        ],
        "regime": answer.regime,
        "scale": {name: size for name, size in sizes.items() if size is not None} or None,
    }
