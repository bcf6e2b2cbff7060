"""What became of claims: one small file each, ``NAME.json``, in the repository (``danlu/catalog/results``)
and beside the studies; and which of them are of the claim as it stands."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from danlu.files.json import read_object, to_json, write_json
from danlu.lab import evidence
from danlu.lab.claims.checks import Found
from danlu.lab.claims.claim import Claim
from danlu.lab.claims.verdict import Verdict
from danlu.lab.errors import LabError
from danlu.lab.why import Why

FOLDER = "claims"  # inside the studies' folder
SHELF = "results"  # of the catalog
NOT_RUN: Literal["not run"] = "not run"
VOID: Literal["void"] = "void"
# What may be changed after it ran: words about a claim, how many seeds, where it can be run.
WORDS = ("statement", "source", "rows", "unit", "note", "reading", "seeds", "sd", "needs")


@dataclass(frozen=True)
class Was:
    """A verdict that a claim had under another bed, rule, premises or margin."""

    mark: str
    first: str
    date: str
    verdict: str


@dataclass(frozen=True)
class Best:
    """How an arm was tuned, as ``danlu.lab.tuning.Tuned`` writes it."""

    field: str
    value: float
    interval: tuple[float | None, float | None]
    curve: dict[str, float | None]
    trials: int
    why: str


@dataclass(frozen=True)
class Result:
    """What became of a claim; all of it JSON.

    ``claim``: as it stood; ``mark``: the digest of what may not change (``mark_of``), ``first``: when it
    first ran. ``verdict``, and ``why`` it is *not run* or *void*, a sentence each; ``failed``: how runs did
    (one that diverged has not failed). ``early``: why the regime of its runs says nothing of later; ``weak``:
    it passed with a severity below .8. ``effect``: mean, low and high end of its 95 % interval; ``effects``
    by seed; ``values`` of each arm by seed; ``measured``, where there are points, by arm and point.

    ``margin`` in the unit of the effect, ``spread`` of the effects of the first seeds, ``needed``: the seeds
    that the two ask for; ``severity``: pairs of a bound and how severely it was tested that the effect lies
    beyond. ``premises``: what became of them. ``tuned``: by arm. ``regime``:
    the least of its runs. ``looks``: the seeds of its verdicts so far. ``before``: the verdicts that other
    rules, arms, premises or margins had.

    ``runs`` of all kinds, ``trials`` of them for tuning, by arm the same; ``seconds``: active, of the runs
    that no claim before it needed. ``machine``, ``versions``, ``data`` (hash of the training text by corpus),
    ``code`` (``danlu.lab.evidence``): of its runs. ``inside``: what moved in them, one arm against the other.
    """

    name: str
    claim: dict[str, Any]
    verdict: Verdict | Literal["void", "not run"]
    effect: tuple[float, float, float]
    effects: list[float]
    values: dict[str, list[float]]
    measured: dict[str, dict[str, list[float]]]
    seeds: int
    runs: int
    diverged: int
    failed: list[str]
    seconds: float
    machine: dict[str, Any]
    versions: dict[str, str]
    data: dict[str, str]
    date: str
    code: str | None = None
    mark: str = ""
    first: str = ""
    why: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    weak: bool = False
    margin: float | None = None
    spread: float | None = None
    needed: int | None = None
    severity: list[tuple[float, float]] = field(default_factory=list)
    premises: list[Found] = field(default_factory=list)
    tuned: dict[str, Best] = field(default_factory=dict)
    regime: dict[str, Any] = field(default_factory=dict)
    looks: list[int] = field(default_factory=list)
    before: list[Was] = field(default_factory=list)
    trials: int = 0
    inside: Why = field(default_factory=Why)

    @property
    def looked(self) -> bool:
        """Whether a verdict on fewer or more seeds was seen before, which its intervals must allow for."""
        return any(look != self.seeds for look in self.looks)

    @property
    def said(self) -> str:
        """The verdict with what must be said beside it: ``holds (early, weak)``."""
        beside = [word for word, true in (("early", self.early), ("weak", self.weak)) if true]
        shown = self.verdict not in (NOT_RUN, VOID)
        return f"{self.verdict} ({', '.join(beside)})" if beside and shown else self.verdict

    def refused(self, seeds: int) -> bool:
        """Whether so many seeds were already found to be too few."""
        return self.verdict == NOT_RUN and self.needed is not None and self.needed > seeds

    def of(self, claim: Claim) -> bool:
        """Whether it is of the claim as it stands: words about it may have changed."""
        return mark_of(self.claim) == mark_of(claim.model_dump(mode="json"))


def mark_of(claim: Mapping[str, Any]) -> str:
    """Sixteen hex digits of what decides a verdict: bed, arms, tuning, measure, rule, margin, premises."""
    decides = _said({key: value for key, value in claim.items() if key not in WORDS})
    return hashlib.sha256(to_json(decides).encode()).hexdigest()[:16]


def _said(value: Any) -> Any:
    """Without what is left out, at any depth, in one order: a field that claims get later marks none anew."""
    if isinstance(value, Mapping):
        pairs = {key: _said(one) for key, one in sorted(value.items())}
        return {key: one for key, one in pairs.items() if one not in (None, [], {})}
    return [_said(one) for one in value] if isinstance(value, list | tuple) else value


def save(folder: Path, result: Result) -> None:
    """Keep a result in ``folder``; the date stays where nothing else is new."""
    path = folder / f"{result.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    written = asdict(result)
    if path.exists():
        before = read_object(path)
        if to_json(before | {"date": ""}) == to_json(written | {"date": ""}):
            return
    write_json(path, written)


def kept(claims: Mapping[str, Claim], *folders: Path) -> dict[str, Result]:
    """The results of ``claims`` in the catalog and in the ``folders``: of each claim the last that is of it
    as it stands, else the last there is."""
    found: dict[str, Result] = {}
    with resources.as_file(resources.files("danlu") / "catalog" / SHELF) as shelf:
        for result in (result for folder in (shelf, *folders) for result in _in(folder)):
            claim, there = claims.get(result.name), found.get(result.name)
            if claim is not None and (there is None or result.of(claim) or not there.of(claim)):
                found[result.name] = result
    return found


def _in(folder: Path) -> Iterable[Result]:
    return (_read(path) for path in sorted(folder.glob("*.json")) if path.name != evidence.CODE)


def _read(path: Path) -> Result:
    try:
        return TypeAdapter(Result).validate_python(read_object(path))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise LabError(
            f"{path}: {where}: {problem['msg']}; delete it, and the claim is proved again"
        ) from None
