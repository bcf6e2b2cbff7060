"""What the referee says: verdicts with all that they rest on, for people, programs and the shell."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from danlu.files.json import finite
from danlu.lab.referee.findings import Finding, Held
from danlu.lab.referee.question import Question
from danlu.lab.referee.regime import in_regime
from danlu.lab.study import Study

SCHEMA = "danlu.referee/1"  # what is there stays; further fields may come
UNDECIDED, WORSE, EARLY = 10, 11, 12  # exit codes with --exit-verdict

Outcome = Literal["answered", "void", "failed", "budget"]


@dataclass(frozen=True)
class Answer:
    """``findings``: one of each idea; none where there is no verdict, and ``why`` says why not. ``notes``:
    what else must be known. ``cost``: runs and seconds so far, those of tuning apart. ``control``: by idea,
    whether its verdict ``stands`` among all that the ledger was asked, ``alone`` or by its
    ``interval only``."""

    question: Question
    study: Study
    outcome: Outcome = "answered"
    why: str = ""
    exit_code: int = 0
    findings: Sequence[Finding] = ()
    premises: Sequence[Held] = ()
    regime: Mapping[str, Any] = field(default_factory=dict)
    tuned: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    control: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def early(self) -> list[str]:
        """Why a verdict says nothing of longer runs."""
        return list(self.regime.get("early", ()))

    def verdict(self, finding: Finding) -> str:
        """As it is told: ``better``, ``better (early)``, ``better (regime not known)``."""
        return finding.verdict + {True: "", False: " (early)", None: " (regime not known)"}[self.in_regime]

    @property
    def in_regime(self) -> bool | None:
        """Whether the verdicts hold beyond the beginning of training; none where nobody knows."""
        return in_regime(self.regime)

    @property
    def exit_verdict(self) -> int:
        """0 where every idea is better, and 12 where that is early or its regime not known; 11 where one is
        worse; 10 else: not shown, equivalent, scale-bound. Without a verdict: why."""
        if self.exit_code:
            return self.exit_code
        said = {finding.verdict for finding in self.findings}
        if said == {"better"}:
            return 0 if self.in_regime else EARLY
        return WORSE if "worse" in said else UNDECIDED

    def json(self) -> dict[str, Any]:
        """As JSON: the first idea, and the ``others``. What is not finite is none."""
        plan = self.question.plan
        about: dict[str, Any] = {
            "schema": SCHEMA,
            "file": str(self.question.file),
            "study": str(self.study.path),
            "outcome": self.outcome,
            "exit_verdict": self.exit_verdict,
            "metric": {"name": plan.metric.name, "better": plan.metric.better},
            "baseline": plan.baseline,
        }
        first, *others = [self._of(finding) for finding in self.findings] or [
            {"verdict": "void" if self.outcome == "void" else None, "why": self.why, "next": None}
        ]
        shared = {
            "regime": dict(self.regime) or None,
            "in_regime": self.in_regime,
            "premises": [_premise(held) for held in self.premises],
            "tuned": dict(self.tuned) or None,
            "cost": dict(self.cost) or None,
            "notes": list(self.notes),
        }
        return finite({**about, **first, **shared, "others": others})

    def _of(self, finding: Finding) -> dict[str, Any]:
        sides, gain = finding.sides, finding.gain
        rows = zip(sides.seeds, sides.baseline, sides.variant, strict=True)
        return {
            "idea": finding.idea,
            "verdict": finding.verdict,
            "early": bool(self.early),
            "why": finding.why,
            "gain": None if gain is None else dict(zip(("value", "low", "high"), gain, strict=True)),
            "rungs": list(finding.gains),
            "delta": finding.interval.value,
            "interval": list(finding.interval[1:]),
            "level": finding.level,
            "kind": finding.kind,
            "correlation": sides.correlation,
            "pairs": len(sides.differences),
            "severity": dict(finding.severity),
            "analyses": [reading._asdict() for reading in finding.readings],
            "p": finding.p,
            "e": finding.e,
            "fdr": self.control.get(finding.idea),
            "runs": [
                {
                    "seed": seed,
                    "baseline": b.value,
                    "variant": v.value,
                    "ends": [b.end, v.end],
                    "folders": [b.folder, v.folder],
                }
                for seed, b, v in rows
            ],
            "changes": self.question.stats[finding.idea],
            "next": self.next(finding),
        }

    def next(self, finding: Finding) -> dict[str, Any] | None:
        """The command that would decide, and what it costs; none where it is decided, or a thousand more
        pairs would not do."""
        if finding.verdict != "not shown" or not finding.more:
            return None
        sides = finding.sides
        asked = len(sides.seeds) + finding.more
        seconds = sum(record.seconds for record in (*sides.baseline, *sides.variant)) / len(sides.seeds)
        return {
            "command": shlex.join(["danlu", "referee", str(self.question.file), "--pairs", str(asked)]),
            "cost": {"runs": 2 * finding.more, "seconds": finding.more * seconds},
        }


def _premise(held: Held) -> dict[str, Any]:
    value, low, high = held.interval
    return {
        "name": held.name, "arm": held.arm, "rule": held.rule, "value": value, "low": low, "high": high,
        "holds": held.holds,
    }  # fmt: skip
