"""What is kept of questions: the ledger with its evidence, the book of claims with what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from danlu.draw import Chart
from danlu.files.json import to_json
from danlu.files.read import stamp
from danlu.lab.claims import book
from danlu.lab.claims.again import again
from danlu.lab.claims.claim import Claim
from danlu.lab.claims.results import FOLDER, Result, kept
from danlu.lab.ledger import Entry, read
from danlu.lab.ledger.short import at
from danlu.lab.ledger.table import listing
from danlu.lab.reading.table import said
from danlu.watch.place import Place, StudyFolder

MOST = 500  # entries


@dataclass(frozen=True)
class Ledger:
    """``rows``: the heads first, as ``danlu ledger`` prints them; ``ids``: of the entries below."""

    rows: Sequence[Sequence[str]]
    ids: Sequence[str]
    older: int


def entries(place: Place) -> list[Entry]:
    """Those of the ledger; none where there is none. Raises ``LabError`` for one that cannot be read."""
    file = place.ledger
    return [] if file is None else read(file)


def ledger(found: Sequence[Entry], everything: bool) -> Ledger:
    """The newest entries on each question first, or all."""
    rows = listing(found, everything) if found else [()]
    head, *body = rows
    body = list(reversed(body))[:MOST]
    ids = [row[-1] for row in body]
    return Ledger([head[:-1], *(row[:-1] for row in body)], ids, len(found) - len(rows) + 1)


# What fields of an entry are called where their own name says too little.
NAMES = {"e": "e-value", "judged": "code that judged", "sets": "fields that it sets", "by": "decided by",
         "decided": "decided on", "scale": "largest run", "at": "at equal"}  # fmt: skip
SAID = ("verdict", "at", "unit", "regime", "decision")  # whose values are words of danlu


def facts(entry: Entry) -> list[tuple[str, str, bool]]:
    """An entry, field by field, but for the statement: name, value, whether that is in danlu's words."""
    told = entry.written()
    told |= {name: said for name, said in (("regime", str(entry.regime)), ("at", at(entry))) if name in told}
    return [
        (NAMES.get(name, name), _told(value), name in SAID)
        for name, value in told.items()
        if name != "statement"
    ]


def _told(value: Any) -> str:
    if isinstance(value, list) and not any(isinstance(one, dict | list) for one in value):
        return "\n".join(map(said, value))
    return to_json(value, indent=1) if isinstance(value, dict | list) else said(value)


def evidence(place: Place, entry: Entry) -> list[StudyFolder]:
    """The studies here that an entry rests on, by the names of their folders."""
    names = {Path(path).name for path in entry.evidence} | {Path(path).parent.name for path in entry.evidence}
    return [study for study in place.studies() if study.name in names]


# ---------------------------------------------------------------- claims


def results(place: Place) -> tuple[dict[str, Claim], dict[str, Result]]:
    """The claims of the book, and what became of them: in the catalog and beside the studies. Raises
    ``LabError`` for a claim, ``FileError`` for a result that cannot be read."""
    studies = place.studies_folder
    folder = None if studies is None or not place.holds(studies / FOLDER) else studies / FOLDER
    there = sorted(folder.glob("*.json")) if folder is not None and folder.is_dir() else []
    return _results(folder, tuple((path.name, stamp(path)) for path in there))


@lru_cache(maxsize=1)
def _results(folder: Path | None, _: Any) -> tuple[dict[str, Claim], dict[str, Result]]:
    """Kept until a file of the folder is another: a hundred claims take a second."""
    claims = book.claims()
    found = kept(claims, *([] if folder is None else [folder]))
    return claims, {name: again(claims[name], one) for name, one in found.items() if one.of(claims[name])}


def effects(result: Result, unit: str) -> Chart:
    """The effect of each seed, and their mean with its interval."""
    chart = Chart(unit, y_names=["effect"], height=140, caption="A dot for each seed; the mean above them.")
    chart.rule(x=0).dots(result.effects, [-0.1] * len(result.effects), "seeds")
    mean, low, high = result.effect
    return chart.dots([mean], [0.2], "mean", x_ends=[(low, high)])
