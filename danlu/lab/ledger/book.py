"""Reading the ledger, and what is written into it: a question, its verdict, a decision.

A question is written down when it is asked and its verdict beside it when there is one, so that those that
came to nothing count too. What would come out is read back before it takes the file's place.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from platform import machine, system
from typing import Any

from danlu import __version__
from danlu.code import judged
from danlu.files.errors import Missing
from danlu.files.lock import Lock
from danlu.files.read import MIB, read_text
from danlu.files.write import write_atomically
from danlu.files.yaml import brief
from danlu.lab.conditions import plain, torch_version
from danlu.lab.errors import LabError
from danlu.lab.ledger import text
from danlu.lab.ledger.entry import BY_HAND, CLEAR, DECISIONS, ENOUGH, Decision, Entry, Verdict
from danlu.lab.ledger.newest import current, later
from danlu.lab.study import folder_name
from danlu.spec.errors import did_you_mean, either

LEDGER = Path("ledger.yaml")
LIMIT = 16 * MIB
MOST_NAMED = 8  # entries, where a name may be any of several
MOST = 1e300  # an e-value beyond is written as this: all pairs differ by exactly the same

PERSON = "a person"  # decided again what an agent had decided

ANSWER = {"verdict", "effect", "interval", "seeds"}


def read(file: Path = LEDGER) -> list[Entry]:
    """The entries, oldest first; none where there is no file. Raises LabError: the line and what is wrong."""
    return text.entries(_text(file), file)


def named(file: Path | None) -> Path:
    """The ledger that a person named, or the default one, which need not be there yet. Raises LabError, with
    the nearest name, where the one that was named is not there."""
    if file is None or file.exists():
        return file or LEDGER
    beside = [one.name for one in file.parent.glob("*.y*ml")] if file.parent.is_dir() else []
    hint = did_you_mean(file.name, beside, f"{file.parent}/" if file.parent != Path() else "")
    raise LabError(f"there is no ledger {file}{hint or '; danlu try --ledger FILE begins one'}")


def check(file: Path) -> None:
    """Raises LabError or FileError where entries cannot be written into ``file``, before anything is run."""
    _folder_of(file)
    read(file)


def ask(
    *,
    statement: str,
    idea: str | None = None,
    claim: str | None = None,
    on: str | None = None,
    at: str | None = None,
    family: str | None = None,
    sets: Mapping[str, Any] | None = None,
    tags: Sequence[str] = (),
    evidence: Sequence[str | os.PathLike[str]] = (),
    file: Path = LEDGER,
) -> Entry:
    """Write down a question before its first run, as ``asked``, and return its entry; ``record`` puts the
    verdict into it. Asked once is enough: where the study ``evidence`` is only gone on with, the entry that
    there is is returned. It is asked anew where files that its runs depend on were edited since its verdict.
    """
    with _alone(file):
        book = _Book(file)
        new = _new(
            verdict="asked", statement=statement, seeds=0, idea=idea, claim=claim, on=on, at=at,
            family=family, sets=sets, tags=tags, evidence=evidence,
        )  # fmt: skip
        old = book.newest(new)
        if old is not None and (not old.answered or not _edited(old)):
            return old
        return book.append(new)


def record(
    *,
    verdict: Verdict,
    statement: str,
    seeds: int,
    idea: str | None = None,
    claim: str | None = None,
    on: str | None = None,
    at: str | None = None,
    effect: float | None = None,
    interval: tuple[float, float] | None = None,
    unit: str | None = None,
    e: float | None = None,
    gain: Mapping[str, float | None] | None = None,
    rungs: Sequence[Mapping[str, float | None]] = (),
    regime: Mapping[str, Any] | None = None,
    why: str | None = None,
    family: str | None = None,
    sets: Mapping[str, Any] | None = None,
    tags: Sequence[str] = (),
    evidence: Sequence[str | os.PathLike[str]] = (),
    code: str | None = None,
    scale: Mapping[str, float] | None = None,
    file: Path = LEDGER,
) -> Entry:
    """Write a verdict and return its entry: into the entry that ``ask`` left open; into the newest one of the
    same study where it says the same; else a new one, which supersedes what is on the same question and went
    no further (``later``).

    Numbers are kept to six digits; what is not finite is left out. What the arguments mean is said at
    ``Entry``. ``e``: of all pairs that there are now (``danlu.lab.statistics.evidence``), not the largest on
    the way. ``scale``: ``parameters``, ``steps`` and ``tokens`` of the largest run, from which ``danlu ledger
    due`` tells that another goes further. Raises LabError or RunError with one sentence; the file is then as
    it was.
    """
    with _alone(file):
        book = _Book(file)
        new = _new(
            verdict=verdict, statement=statement, seeds=seeds, idea=idea, claim=claim, on=on, at=at,
            effect=effect, interval=interval, unit=unit, e=e, gain=gain, rungs=rungs, regime=regime, why=why,
            family=family, sets=sets, tags=tags, evidence=evidence, code=code, scale=scale,
        )  # fmt: skip
        old = book.newest(new)
        if old is not None and (old.verdict == "asked" or _answers_alike(old, new)):
            return book.complete(old, new)
        return book.append(new)


def decide(
    file: Path,
    name: str,
    decision: Decision,
    because: str,
    revisit: str | None = None,
    *,
    by: str | None = None,
) -> Entry:
    """Write a decision into the entry called ``name`` (or so beginning) and return the entry as it is now.

    ``revisit``: when to look again; left out, what was said before stays. ``by``: who decides, where that is
    an agent. Raises LabError.
    """
    if decision not in DECISIONS:
        raise LabError(f"decision = {brief(decision)}; allowed: {either(DECISIONS)}")
    if not because.strip():
        raise LabError("a decision has a reason; say it in a few words: --because 'holds at three sizes'")
    if revisit is not None:
        plain(revisit)
    named(file)
    with _alone(file):
        book = _Book(file)
        old = find(book.entries, name, file)
        far = old.regime is None or old.in_regime
        weak = decision != "undecided" and (old.verdict not in CLEAR or old.seeds < ENOUGH or not far)
        change: dict[str, Any] = {"decision": decision, "decided": _today(), "because": because, "weak": weak}
        if by is not None or old.by is not None:
            change["by"] = by or PERSON
        if revisit is not None:
            change["revisit"] = {"when": revisit}
        return book.alter(old, change)


def find(entries: Sequence[Entry], name: str, file: Path = LEDGER) -> Entry:
    """The entry called ``name``, of that number (its place in the file, from 1), or the only one whose id
    begins so. Raises LabError."""
    names = [entry.id for entry in entries]
    if name in names:
        return entries[names.index(name)]
    if name.isdecimal() and 1 <= int(name) <= len(entries):
        return entries[int(name) - 1]
    fits = [(number, id) for number, id in enumerate(names, 1) if name and id.startswith(name)]
    if len(fits) > 1:
        some = ", ".join(f"{number}: {id}" for number, id in fits[:MOST_NAMED])
        more = f" and {len(fits) - MOST_NAMED} more" if len(fits) > MOST_NAMED else ""
        raise LabError(f"{name} may be any of {some}{more}; type the number, or the whole id")
    if not fits:
        hint = did_you_mean(name, names) or f"; danlu ledger lists its {len(names)}"
        raise LabError(f"{file} has no entry {name}{hint}")
    return entries[fits[0][0] - 1]


def _answers_alike(old: Entry, new: Entry) -> bool:
    return old.model_dump(include=ANSWER) == new.model_dump(include=ANSWER)


def _edited(old: Entry) -> bool:
    """Whether the code of a verdict is another by now."""
    from danlu.lab.evidence import edited_since  # what only reads the ledger needs nothing of it

    return old.code is not None and bool(edited_since(old.evidence, old.code))


class _Book:
    """The file while one writes into it."""

    def __init__(self, file: Path) -> None:
        self.file, self.text = file, _text(file)
        self.entries = text.entries(self.text, file)

    def newest(self, new: Entry) -> Entry | None:
        """The newest entry on the question of ``new`` that is of the same study, or of none yet."""
        for old in reversed(self.entries):
            if old.asks_the_same(new) and (old.evidence == new.evidence or not old.evidence):
                return old
        return None

    def append(self, new: Entry) -> Entry:
        """A new entry at the end. What its study said of the idea before need not be said again."""
        said = self.newest(new)
        if said is not None:
            new = new.model_copy(
                update={
                    name: getattr(new, name) or getattr(said, name) for name in ("family", "sets", "tags")
                }
            )
        before = [old.id for old in current(self.entries) if old.asks_the_same(new) and later(new, old)]
        subject = folder_name(new.subject.removeprefix("+"))[:40].rstrip("-.")
        name = folder_name(f"{subject} on {new.on.split()[0]}"[:60]) if new.on else subject
        new = new.model_copy(
            update={"id": _unused(name, {entry.id for entry in self.entries}), "supersedes": tuple(before)}
        )
        self._write(text.appended(self.text, new), [*self.entries, new])
        return new

    def complete(self, old: Entry, new: Entry) -> Entry:
        """Write what is new into an entry: its verdict, or what more is known of it."""
        others = [one for one in current(self.entries) if one != old and one.asks_the_same(new)]
        superseded = [*old.supersedes, *(one.id for one in others if later(new, one) and not old.answered)]
        before, after = old.written(), new.written() | {"supersedes": superseded}
        kept = {"id", "date", "statement", *BY_HAND} | ({"environment"} if old.answered else set())
        change = {name: after[name] for name in after if name not in kept and after[name] != before.get(name)}
        if not superseded:
            change.pop("supersedes")
        return self.alter(old, change) if change else old

    def alter(self, old: Entry, change: Mapping[str, Any]) -> Entry:
        """Write some fields of an entry anew."""
        new = text.entry({**old.written(), **change})
        position = self.entries.index(old)
        changed = text.changed(self.text, position, {key: new.written()[key] for key in change})
        self._write(changed, [*self.entries[:position], new, *self.entries[position + 1 :]])
        return new

    def _write(self, written: str, entries: list[Entry]) -> None:
        """Put the text in place if it says what it should. Raises LabError, the file being as it was."""
        try:
            right = text.entries(written, self.file) == entries
            data = written.encode()
        except (LabError, UnicodeEncodeError):
            right, data = False, b""
        if not right:
            raise LabError(
                f"{self.file} is laid out in a way that cannot be added to without loss; write each entry as "
                "lines that begin with `- id:`, indented alike"
            )
        write_atomically(self.file, data)


def _new(**said: Any) -> Entry:
    """An entry of today, here; its id is not given yet."""
    if not (said["idea"] or said["claim"]):
        raise LabError("a verdict is on an idea or on a claim; give one of the two")
    ends = tuple(_rounded(end) for end in said.get("interval") or ())
    e = said.get("e")
    return text.entry(
        {
            "id": "new",
            "date": _today(),
            **said,
            "on": said["on"] or None,
            "effect": _rounded(said.get("effect")),
            "interval": ends if ends and None not in ends else None,
            "e": None if e is None or math.isnan(e) else _rounded(min(e, MOST)),
            "gain": _finite(said.get("gain")),
            "rungs": [_finite(rung) for rung in said.get("rungs") or ()],
            "regime": _finite(said.get("regime")),
            "sets": json.loads(json.dumps(dict(said.get("sets") or {}))),
            "evidence": [os.fspath(place) for place in said["evidence"]],
            "judged": None if said["verdict"] == "asked" else judged(),
            "environment": {
                "danlu": __version__, "torch": torch_version(), "machine": f"{system()} {machine()}",
            },
        }
    )  # fmt: skip


def _finite(fields: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Its numbers rounded, without those that are not finite."""
    if fields is None:
        return None
    rounded = {name: _rounded(value) if isinstance(value, float) else value for name, value in fields.items()}
    return {name: value for name, value in rounded.items() if value is not None}


def _text(file: Path) -> str:
    try:
        return read_text(file, LIMIT)
    except Missing:
        return ""


def _alone(file: Path) -> Lock:
    """One writer at a time: the file itself is replaced, so one beside it is locked."""
    _folder_of(file)
    return Lock(file.with_name(f".{file.name}.lock"))


def _folder_of(file: Path) -> None:
    """A ledger stands in a folder of a person's own: one that is misspelt is not made."""
    if not file.parent.is_dir():
        raise LabError(
            f"the ledger {file} cannot be written: there is no folder {file.parent}; make it first"
        )


def _unused(name: str, taken: Iterable[str]) -> str:
    count = 1
    while (found := name if count == 1 else f"{name}-{count}") in taken:
        count += 1
    return found


def _rounded(number: float | None) -> float | None:
    """Six digits, which is more than an effect can claim; None for what is not finite."""
    if number is None or not abs(number) < math.inf:
        return None
    return float(f"{number:.6g}")


def _today() -> str:
    return time.strftime("%Y-%m-%d")
