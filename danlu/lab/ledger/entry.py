"""What the ledger holds of one question: who asked what of which baseline, the verdict, the decision."""

from __future__ import annotations

import json
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from danlu.lab.conditions import condition
from danlu.lab.errors import LabError
from danlu.lab.regime import told

ENOUGH = 3  # seeds: a decision on fewer is marked as weak

Verdict = Literal[
    "asked", "better", "worse", "equivalent", "scale-bound", "not shown", "void", "holds", "does not hold"
]
CLEAR = ("better", "worse", "equivalent", "scale-bound", "holds", "does not hold")  # that claim something
OPEN = ("asked", "void")  # that answer nothing
Decision = Literal["adopt", "reject", "undecided", "none"]
DECISIONS = get_args(Decision)[:-1]
BY_HAND = ("decision", "decided", "because", "by", "weak", "revisit", "note")  # fields that no verdict writes


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Scale(_Part):
    """How large the evidence's largest run was."""

    parameters: float | None = None
    steps: float | None = None
    tokens: float | None = None


class Environment(_Part):
    """On what it was found."""

    danlu: str | None = None
    torch: str | None = None
    machine: str | None = None


class Regime(_Part):
    """How far the training of both sides went: tokens per parameter, updates, how many bits the baseline's
    loss lies below chance, the share of the warm-up, whether the schedule was whole and the rates tuned.
    ``early``: what is missing for a verdict that holds beyond the beginning of training, a sentence each."""

    tokens_per_parameter: float | None = None
    updates: int | None = None
    bits_below_chance: float | None = None
    warmup: float | None = None
    whole_schedule: bool | None = None
    tuned: bool | None = None
    early: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = told(self.tokens_per_parameter, self.updates, self.bits_below_chance, self.tuned)
        early = f"early: {'; '.join(self.early)}" if self.early else ""
        return ", ".join(filter(None, (said, early))) or "not known"


class Gain(_Part):
    """The compute-equivalent gain: how many times the compute the baseline needs to be as good, and its 95 %
    interval (an end that is not known is left out)."""

    value: float = Field(gt=0)
    low: float | None = Field(default=None, ge=0)
    high: float | None = Field(default=None, ge=0)


class Rung(Gain):
    """The gain at one rung, whose baseline took so many ``flops``."""

    flops: float | None = Field(default=None, gt=0)


class Revisit(_Part):
    """When to look again: in words, or a condition (``danlu.lab.conditions``)."""

    when: str

    @field_validator("when")
    @classmethod
    def _readable(cls, when: str) -> str:
        try:
            condition(when)
        except LabError as error:
            raise ValueError(str(error)) from None
        return when


class Entry(_Part):
    """A question on an ``idea`` or a ``claim``, its verdict (``asked`` until there is one) and what was
    decided.

    ``date``: when it was asked. ``on``: the words of the baseline. ``at``: what was equal (steps, seconds,
    FLOPs). ``family``, ``sets`` (fields and values, where the idea differs from the baseline), ``tags``: by
    which it is found again. ``effect`` with its 95 % ``interval``, in ``unit``. ``gain``: what the verdict
    on scale says; ``rungs``: the gain at each, the smallest first. ``e``: the e-value against no
    difference, of a claim against an effect at its bound, as it stands with all of the evidence, never the
    largest on the way. ``why``: what made it void. ``evidence``: folders of studies. ``code``: a digest of
    the files that its runs depend on (``danlu.lab.evidence``); ``judged``: of those that made a verdict of
    them (``danlu.code.judging``). ``supersedes``: earlier entries on the same
    question that it takes the place of. ``weak``: decided on a verdict that shows nothing, is early or of a
    regime that is not known, or on fewer than three seeds. ``by``: who decided, where it was an agent.
    """

    id: str = Field(min_length=1)
    date: str
    idea: str | None = None
    claim: str | None = None
    on: str | None = None
    statement: str
    verdict: Verdict
    why: str | None = None
    effect: float | None = None
    interval: tuple[float, float] | None = None
    unit: str | None = None
    seeds: int = Field(ge=0)
    at: str | None = None
    e: float | None = Field(default=None, ge=0)
    gain: Gain | None = None
    rungs: tuple[Rung, ...] = ()
    regime: Regime | None = None
    family: str | None = None
    sets: dict[str, Any] = {}
    tags: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    code: str | None = None
    judged: str | None = None
    scale: Scale | None = None
    environment: Environment | None = None
    supersedes: tuple[str, ...] = ()
    decision: Decision = "none"
    decided: str | None = None
    because: str | None = None
    by: str | None = None
    weak: bool = False
    revisit: Revisit | None = None
    note: str | None = None

    @property
    def subject(self) -> str:
        """The idea or the claim."""
        return self.idea or self.claim or self.id

    @property
    def early(self) -> bool:
        """Whether its regime is short of what a verdict needs."""
        return self.regime is not None and bool(self.regime.early)

    @property
    def in_regime(self) -> bool:
        """Whether its regime is known, and what a verdict needs."""
        return self.regime is not None and self.regime.updates is not None and not self.early

    @property
    def answered(self) -> bool:
        """Whether there is a verdict, be it that nothing was shown."""
        return self.verdict not in OPEN

    @property
    def said(self) -> str:
        """The verdict as it is told: an early one, or one of a regime that is not known, never without these
        words."""
        if self.regime is None or self.in_regime or not self.answered:
            return self.verdict
        return f"{self.verdict} ({'early' if self.early else 'regime not known'})"

    @property
    def question(self) -> tuple[str | None, ...]:
        """What it answers. The statement of an idea is not part of it: that may be worded anew."""
        return self.idea, self.claim, self.on, self.at, self.statement if self.idea is None else None

    def asks_the_same(self, other: Entry) -> bool:
        """Whether both answer one question. An idea of one's own may keep its name and become another: then
        the fields differ that it sets, where both say which."""
        known = bool(self.sets and other.sets)
        return self.question == other.question and (not known or same(self.sets, other.sets))

    def written(self) -> dict[str, Any]:
        """The fields that say something, plain; of a regime all."""
        said = self.model_dump(mode="json", exclude_none=True)
        if self.regime is not None:
            said["regime"] = self.regime.model_dump(mode="json")
        empty = [name for name in ("rungs", "sets", "tags", "supersedes") if not said[name]]
        return {name: value for name, value in said.items() if name not in empty}


def same(sets: dict[str, Any], others: dict[str, Any]) -> bool:
    """Whether two ideas set the same fields to the same values."""
    return key(sets) == key(others)


def key(sets: dict[str, Any]) -> str:
    """One text for equal fields and values, whatever their order."""
    return json.dumps(sets, sort_keys=True)
