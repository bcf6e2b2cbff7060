"""What the ledger is told of a study over sizes: each idea when it is asked, then its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from danlu import spec
from danlu.lab import evidence, ledger
from danlu.lab.across.answer import Scaled, factor
from danlu.lab.statistics.online import from_p
from danlu.lab.study import Study
from danlu.lab.trial.arms import Idea

AT = "equal FLOPs across sizes"


def ask(
    idea: Idea, on: str, baseline: spec.Experiment, variant: spec.Experiment, study: Study, book: Path
) -> None:
    """Write down that ``idea`` is asked."""
    ledger.ask(
        idea=idea.name, on=on, at=AT, statement=idea.statement, evidence=[study.path], file=book,
        **ledger.about(idea.words, baseline, variant),
    )  # fmt: skip


def record(one: Scaled, on: str, study: Study, runs: Sequence[Path], book: Path) -> None:
    """Tell the ledger ``book`` a verdict that rests on ``runs``."""
    known_gains = [(at, factor(gain.interval())) for at, gain in zip(one.at, one.gains, strict=False)]
    model = None if one.judged is None else one.judged.model
    clear = model is not None and one.judged is not None and one.verdict in ("better", "worse")
    top = one.at[-1].rung if one.at else None
    ledger.record(
        idea=one.idea,
        on=on,
        at=AT,
        statement=one.statement,
        verdict=one.verdict,
        why=one.why if one.verdict == "void" else None,
        e=from_p(model.p(one.judged.at)) if clear else None,  # type: ignore[union-attr]
        gain=None if one.judged is None else _ends(factor(one.judged.gain)),
        rungs=[{"flops": at.rung.flops, **ends} for at, gain in known_gains if (ends := _ends(gain))],
        regime=None if one.regime is None else one.regime.json(),
        seeds=min((len(at.seeds) for at in one.at), default=0),
        evidence=[study.path],
        code=evidence.keep(study.path, runs),
        scale=None
        if top is None
        else {"parameters": top.parameters, "steps": top.updates, "tokens": top.tokens},
        file=book,
    )


def _ends(gain: Sequence[float | None]) -> dict[str, float | None] | None:
    value, low, high = gain
    return None if not value else {"value": value, "low": low, "high": high}
