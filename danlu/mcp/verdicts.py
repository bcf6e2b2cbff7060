"""What came out of a study, short: an effect never without its interval, and what is known beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from danlu.lab import ledger
from danlu.lab.ledger import Entry
from danlu.lab.ledger.newest import current
from danlu.mcp import told
from danlu.mcp.inside import Refused
from danlu.mcp.studies import Studies
from danlu.spec.errors import did_you_mean

# Of a finding of danlu try: what an agent needs. The file has all.
SHORT = (
    "idea", "at", "verdict", "metric", "unit", "better", "difference", "interval", "level", "kind", "p",
    "seeds", "diverged", "more_seeds", "steps", "cost_ratio", "regime", "cost",
)  # fmt: skip
ACROSS = (
    "idea", "metric", "unit", "better", "verdict", "why", "regime", "gain", "gain_at_equal_time",
    "verdict_at_equal_time", "slope", "target_flops", "stopped_after", "next",
)  # fmt: skip
REFEREE = (
    "outcome", "verdict", "idea", "why", "in_regime", "early", "gain", "delta", "interval", "level", "p", "e",
    "pairs", "baseline", "metric", "severity", "premises", "cost", "next",
)  # fmt: skip
TOP = 10  # trials of a sweep


def verdict(studies: Studies, name: str) -> dict[str, Any]:
    """The verdict of a study. Raises ``Refused`` where there is none yet, or where it was edited."""
    answer = studies.answer(name)
    question = studies.order(name)["question"]
    of: dict[str, Callable[..., dict[str, Any]]] = {
        "try": _try,
        "across-scale": _across,
        "referee": _referee,
        "sweep": _sweep,
        "ladder": _ladder,
        "laws": _laws,
    }
    found = of[question["kind"]](studies, name, question, answer)
    return {"study": name, "kind": question["kind"], "file": f"studies/agents/{name}/answer.json", **found}


def _try(studies: Studies, name: str, question: Mapping[str, Any], answer: Sequence[Any]) -> dict[str, Any]:
    findings = [_finding(one) for one in answer]
    on = _on(question)
    entries = ledger.read()
    session: list[float] = []
    for other in studies.names(studies.session):
        asked = studies.order(other)["question"]
        same = asked["kind"] == "try" and told.held_out(_on(asked)) == told.held_out(on)
        if other != name and same and studies.state(other)["state"] == "ended":
            session += _p_values(studies.answer(other)).values()
    return {
        "on": on,
        "findings": findings,
        "over_session": told.over_session(_p_values(answer), session),
        "tries": told.tries(entries, on),
        "ledger": _standing(entries, {one["idea"] for one in answer}, on),
    }


def _finding(one: Mapping[str, Any]) -> dict[str, Any]:
    short = {key: one[key] for key in SHORT}
    if None in one["interval"]:  # an effect is told with its interval, or not at all
        short |= {"difference": None, "interval": None}
    regime = one["regime"] or {}
    moved = one.get("moved") or []
    other = [reading for reading in one["analyses"] if reading["verdict"] != one["verdict"]]
    return short | {
        "early": list(regime.get("early") or ()),
        "what_moved": moved[:5],
        "other_analyses": other,
        "quoted": {"note": one["note"]},
    }


def _p_values(answer: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of no difference at equal steps, by idea, before they were adjusted."""
    return {
        one["idea"]: told.unadjusted(one)
        for one in answer
        if one["at"] == "steps" and one["verdict"] not in ("void", "not measured")
    }


def _across(
    studies: Studies, name: str, question: Mapping[str, Any], answer: Sequence[Any]
) -> dict[str, Any]:
    on, entries = _on(question), ledger.read()
    findings = []
    for one in answer:
        rungs = [
            {"flops": at["rung"]["flops"], "gain": at["gain"], "pairs": len(at["pairs"])}
            for at in one["rungs"]
        ]
        findings.append({**{key: one[key] for key in ACROSS}, "rungs": rungs})
    return {
        "on": on, "findings": findings, "tries": told.tries(entries, on),
        "ledger": _standing(entries, {one["idea"] for one in answer}, on),
    }  # fmt: skip


def _referee(
    studies: Studies, name: str, question: Mapping[str, Any], answer: Mapping[str, Any]
) -> dict[str, Any]:
    return {key: answer.get(key) for key in REFEREE} | {
        "others": [{key: one.get(key) for key in REFEREE if key in one} for one in answer.get("others", ())],
        "quoted": {"notes": answer["notes"]},
    }


def _sweep(
    studies: Studies, name: str, question: Mapping[str, Any], answer: Mapping[str, Any]
) -> dict[str, Any]:
    best = answer["best"]
    return {
        "verdict": None,
        "why": "a sweep searches, and the best of many is so partly by luck: try it against the baseline",
        **{key: answer[key] for key in ("metric", "unit", "better", "fields", "seeds", "counts", "spent")},
        "best": best and {key: best[key] for key in ("words", "point", "value", "low", "high")},
        "trials": [{key: one[key] for key in ("point", "value", "state")} for one in answer["trials"][:TOP]],
        "border": [one["sentence"] for one in answer["border"]],
        "importance": answer["importance"].get("shares"),
        "chance": (answer["study_variance"] or {}).get("sentence"),
        "warnings": answer["warnings"],
    }


def _ladder(
    studies: Studies, name: str, question: Mapping[str, Any], answer: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "verdict": None,
        "why": "a ladder plans; held_out says how well its law predicts the largest rung",
        **{
            key: answer[key]
            for key in ("metric", "unit", "better", "loss", "runs", "held_out", "target", "warnings")
        },
        "law": {key: answer["law"].get(key) for key in ("formula", "parameters", "scatter")},
    }


def _laws(
    studies: Studies, name: str, question: Mapping[str, Any], answer: Mapping[str, Any]
) -> dict[str, Any]:
    long = ("schema", "covariance", "draws", "left_out", "residuals", "columns", "sources")
    return {
        "verdict": None, "why": "a law describes points",
        **{key: value for key, value in answer.items() if key not in long},
    }  # fmt: skip


def _on(question: Mapping[str, Any]) -> str:
    from danlu.lab.trial.question import bed_of

    return str(question["on"] or bed_of(question["ideas"]))


def _standing(entries: Sequence[Entry], ideas: set[str], on: str) -> list[dict[str, Any]]:
    """The newest entries of the ledger on these ideas, and whether each verdict stands among all asked."""
    control = ledger.control(entries)
    mine = [entry for entry in current(list(entries)) if entry.idea in ideas and entry.on == on]
    return [
        {
            "id": one.id,
            "at": one.at,
            "verdict": one.said,
            "control": control.get(one.id),
            "decision": one.decision,
        }
        for one in mine
    ]


def unedited(studies: Studies, entry: Entry) -> None:
    """Raises ``Refused`` where the verdict of an entry is another than its study wrote."""
    known = sorted((when, names) for when, names in studies.receipts() if entry.id in names)
    if known and known[-1][1][entry.id] != told.entry_digest(entry):
        raise Refused(
            f"{entry.id} was edited in the ledger after its study ended; nothing is decided on it: ask the "
            "question anew, or restore the entry"
        )


def entry_of(entries: Sequence[Entry], name: str) -> Entry:
    """An entry by its whole id. Raises ``Refused``."""
    for entry in entries:
        if entry.id == name:
            return entry
    hint = did_you_mean(name, [entry.id for entry in entries]) or "; ledger lists them"
    raise Refused(f"the ledger has no entry {name}{hint}")
