"""An answer told to the ledger."""

from __future__ import annotations

from pathlib import Path

from danlu.lab import ledger
from danlu.lab.referee.answer import Answer


def record(answer: Answer, book: Path) -> None:
    """Write down the verdict on each idea."""
    if answer.question is None or answer.study is None:
        return
    plan, program = answer.question.plan, answer.question.program
    for finding in answer.findings:
        if finding.verdict not in ("better", "worse", "not shown"):
            continue
        ledger.record(
            idea=finding.idea,
            on=f"{program} {plan.baseline}",
            statement=f"{finding.idea} makes {plan.metric.name} of {program} {plan.metric.better}",
            verdict=finding.verdict,
            effect=finding.interval.value,
            interval=(finding.interval.low, finding.interval.high),
            unit=plan.metric.name,
            seeds=len(finding.sides.differences),
            evidence=[answer.study.path],
            file=book,
        )
