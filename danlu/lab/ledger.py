"""The ledger: every verdict, what was decided, on what evidence, when to look again. A text file that belongs
under version control and may be edited by hand.

A verdict is appended; a decision rewrites only the lines that it changes, so that comments and the order of
what was written by hand stay. What would come out is read back before it takes the file's place.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from platform import machine, system
from textwrap import indent
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from danlu import __version__
from danlu.files.errors import FileError, Missing
from danlu.files.lock import Lock
from danlu.files.read import MIB, read_text
from danlu.files.write import write_atomically
from danlu.files.yaml import brief, dump, parse
from danlu.lab.conditions import condition, torch_version
from danlu.lab.errors import LabError
from danlu.lab.study import folder_name
from danlu.spec.errors import did_you_mean, either

LEDGER = Path("ledger.yaml")
LIMIT = 16 * MIB
ENOUGH = 3  # seeds: a decision on fewer is marked as weak
HEADING = """\
# The ledger of danlu: verdicts, decisions, when to look again. `danlu ledger` lists it; edit it freely.

"""

Verdict = Literal["better", "worse", "holds", "does not hold", "not shown"]
Decision = Literal["adopt", "reject", "undecided", "none"]
DECISIONS = get_args(Decision)[:-1]


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
    """A verdict on an ``idea`` or a ``claim`` and what was decided.

    ``on``: the words of the baseline. ``at``: what was equal (steps, seconds, FLOPs). ``effect`` with its
    95 % ``interval``, in ``unit``. ``evidence``: folders of studies. ``code``: a digest of the files that its
    runs depend on (``danlu.lab.evidence``). ``weak``: decided on a verdict that is not shown, or on fewer
    than three seeds.
    """

    id: str = Field(min_length=1)
    date: str
    idea: str | None = None
    claim: str | None = None
    on: str | None = None
    statement: str
    verdict: Verdict
    effect: float | None = None
    interval: tuple[float, float] | None = None
    unit: str | None = None
    seeds: int = Field(ge=0)
    at: str | None = None
    evidence: tuple[str, ...] = ()
    code: str | None = None
    scale: Scale | None = None
    environment: Environment | None = None
    decision: Decision = "none"
    decided: str | None = None
    because: str | None = None
    weak: bool = False
    revisit: Revisit | None = None
    note: str | None = None

    @property
    def subject(self) -> str:
        """The idea or the claim."""
        return self.idea or self.claim or self.id

    @property
    def question(self) -> tuple[str | None, ...]:
        """What it answers."""
        return self.idea, self.claim, self.on, self.at, self.statement

    def written(self) -> dict[str, Any]:
        """The fields that say something, plain."""
        return self.model_dump(mode="json", exclude_none=True)


def read(file: Path = LEDGER) -> list[Entry]:
    """The entries, oldest first; none where there is no file. Raises LabError: the line and what is wrong."""
    return _entries(_text(file), file)


def record(
    *,
    verdict: Verdict,
    statement: str,
    seeds: int,
    idea: str | None = None,
    claim: str | None = None,
    on: str | None = None,
    effect: float | None = None,
    interval: tuple[float, float] | None = None,
    unit: str | None = None,
    at: str | None = None,
    evidence: Sequence[str | os.PathLike[str]] = (),
    code: str | None = None,
    scale: Mapping[str, float] | None = None,
    file: Path = LEDGER,
) -> Entry:
    """Append a verdict and return its entry; the newest one on the same question where it says the same,
    which is then of this ``code`` too.

    Numbers are kept to six digits; what is not finite is left out. ``scale``: ``parameters``, ``steps`` and
    ``tokens`` of the largest run, from which ``danlu ledger due`` tells that another goes further.
    Raises LabError or RunError with one sentence; the file is then as it was.
    """
    subject = idea or claim
    if not subject:
        raise LabError("a verdict is on an idea or on a claim; give one of the two")
    ends = tuple(_rounded(end) for end in interval or ())
    said: dict[str, Any] = {
        "idea": idea, "claim": claim, "on": on or None, "statement": statement, "verdict": verdict,
        "effect": _rounded(effect), "interval": ends if ends and None not in ends else None, "unit": unit,
        "seeds": seeds, "at": at, "evidence": [os.fspath(place) for place in evidence], "code": code,
        "scale": scale,
        "environment": {
            "danlu": __version__, "torch": torch_version(), "machine": f"{system()} {machine()}",
        },
    }  # fmt: skip
    with _alone(file):
        text = _text(file)
        entries = _entries(text, file)
        new = _entry({"id": "new", "date": _today(), **said})
        for old in reversed(entries):
            if old.question == new.question:
                if old.model_dump(include=ANSWER) == new.model_dump(include=ANSWER):
                    if code in (None, old.code):
                        return old
                    return _altered(file, text, entries, old, {"code": code})
                break
        name = folder_name(f"{subject} on {on}" if on else subject)[:60].rstrip("-.")
        new = new.model_copy(update={"id": _unused(name, {entry.id for entry in entries})})
        _write(file, _appended(text, new), [*entries, new])
    return new


def decide(file: Path, name: str, decision: Decision, because: str, revisit: str | None = None) -> Entry:
    """Write a decision into the entry called ``name`` (or so beginning) and return the entry as it is now.

    ``revisit``: when to look again; left out, what was said before stays. Raises LabError.
    """
    if decision not in DECISIONS:
        raise LabError(f"decision = {brief(decision)}; allowed: {either(DECISIONS)}")
    if not because.strip():
        raise LabError("a decision has a reason; say it in a few words: --because 'holds at three sizes'")
    with _alone(file):
        text = _text(file)
        entries = _entries(text, file)
        old = find(entries, name, file)
        weak = decision != "undecided" and (old.verdict == "not shown" or old.seeds < ENOUGH)
        change: dict[str, Any] = {"decision": decision, "decided": _today(), "because": because, "weak": weak}
        if revisit is not None:
            change["revisit"] = {"when": revisit}
        return _altered(file, text, entries, old, change)


def _altered(file: Path, text: str, entries: Sequence[Entry], old: Entry, change: Mapping[str, Any]) -> Entry:
    """Write some fields of an entry anew."""
    new = _entry({**old.written(), **change})
    position = entries.index(old)
    changed = _changed(text, position, {key: new.written()[key] for key in change})
    _write(file, changed, [*entries[:position], new, *entries[position + 1 :]])
    return new


def find(entries: Sequence[Entry], name: str, file: Path = LEDGER) -> Entry:
    """The entry called ``name``, or the only one that begins so. Raises LabError."""
    names = [entry.id for entry in entries]
    fits = [entry for entry in entries if entry.id == name] or [
        entry for entry in entries if name and entry.id.startswith(name)
    ]
    if len(fits) > 1:
        raise LabError(f"{name} may be any of {', '.join(entry.id for entry in fits)}; write it out")
    if not fits:
        raise LabError(
            f"{file} has no entry {name}{did_you_mean(name, names) or '; danlu ledger lists them'}"
        )
    return fits[0]


# ---------------------------------------------------------------- reading

ANSWER = {"verdict", "effect", "interval", "seeds", "evidence"}


def _text(file: Path) -> str:
    try:
        return read_text(file, LIMIT)
    except Missing:
        return ""


def _entries(text: str, file: Path) -> list[Entry]:
    try:
        values = parse(text)
    except FileError as error:
        raise LabError(f"{file}, {error}; correct that line; nothing was changed") from None
    if values is None and not _nodes(text):
        return []
    if not isinstance(values, list):
        raise LabError(f"{file} holds {brief(values)}, not a list of entries, each beginning with `- id:`")
    entries: list[Entry] = []
    ids: set[str] = set()
    for node, value in zip(_nodes(text), values, strict=True):
        where = f"{file}, line {node.start_mark.line + 1}"
        if not isinstance(value, dict):
            raise LabError(f"{where}: {brief(value)} is not an entry, which begins with `- id:`")
        try:
            entry = _entry(value)
        except LabError as error:
            raise LabError(f"{where}: {error}") from None
        if entry.id in ids:
            raise LabError(f"{where}: a second entry is called {entry.id}; give one of the two another id")
        ids.add(entry.id)
        entries.append(entry)
    return entries


def _entry(values: Mapping[str, Any]) -> Entry:
    try:
        return Entry.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    # A field that is unknown is told before the one that is missing: it is mostly that one, misspelt.
    problem = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    name = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        fields = list(Entry.model_fields)
        raise LabError(
            f"{name} is not a field of an entry{did_you_mean(name, fields) or ': ' + ', '.join(fields)}"
        )
    if problem["type"] == "missing":
        raise LabError(f"{name} is missing")
    said = str(problem["msg"]).removeprefix("Value error, ")
    raise LabError(f"{name} = {brief(problem['input'])}: {said[:1].lower()}{said[1:]}")


# ---------------------------------------------------------------- writing


def _nodes(text: str) -> list[yaml.Node]:
    """Where each entry stands: composed, nothing is made of it."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    return [] if node is None else list(node.value) if isinstance(node, yaml.SequenceNode) else [node]


def _appended(text: str, entry: Entry) -> str:
    """The text with one more entry, indented as the others are."""
    nodes = _nodes(text)
    if not nodes:
        lines = text.splitlines(keepends=True)
        empty = "".join(line for line in lines if line.lstrip().startswith("#"))
        if any(line.strip() not in ("", "[]", "---") for line in lines if not line.lstrip().startswith("#")):
            raise LabError("the ledger holds something else than entries; name another file")
        text = f"{empty.rstrip()}\n\n" if empty else HEADING
    margin = " " * max(0, nodes[0].start_mark.column - 2) if nodes else ""
    if not text.endswith("\n"):
        text += "\n"
    block = indent(dump(entry.written()), "  ")
    return text + "\n" * bool(nodes) + indent(f"- {block[2:]}", margin)


def _changed(text: str, position: int, change: Mapping[str, Any]) -> str:
    """The text with some fields of one entry replaced where they stand, new ones after its last line."""
    node = _nodes(text)[position]
    assert isinstance(node, yaml.MappingNode)
    margin = " " * node.start_mark.column
    if node.flow_style:
        whole = {**parse(text)[position], **change}
        block = indent(dump(whole), margin).lstrip(" ").removesuffix("\n")
        return text[: node.start_mark.index] + block + text[node.end_mark.index :]
    spans = {key.value: (key.start_mark.index, _end(text, value)) for key, value in node.value}
    last = max(end for _, end in spans.values())
    line_end = text.find("\n", last)
    last = len(text) if line_end < 0 else line_end
    pieces = {name: indent(dump({name: value}), margin).rstrip("\n") for name, value in change.items()}
    more = "".join(f"\n{piece}" for name, piece in pieces.items() if name not in spans)
    edits = [(last, last, more)]
    edits += [(*spans[name], piece.lstrip(" ")) for name, piece in pieces.items() if name in spans]
    for begin, end, piece in sorted(edits, reverse=True):
        text = text[:begin] + piece + text[end:]
    return text


def _end(text: str, node: yaml.Node) -> int:
    """Where a value ends: that of its last leaf, since a block's own mark stands after the comments below."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(text, last[1] if isinstance(last, tuple) else last)
    return node.start_mark.index + len(text[node.start_mark.index : node.end_mark.index].rstrip())


def _write(file: Path, text: str, entries: list[Entry]) -> None:
    """Put the text in place if it says what it should. Raises LabError, the file being as it was."""
    try:
        right = _entries(text, file) == entries
        data = text.encode()
    except (LabError, UnicodeEncodeError):
        right, data = False, b""
    if not right:
        raise LabError(
            f"{file} is laid out in a way that cannot be added to without loss; write each entry as lines "
            "that begin with `- id:`, indented alike"
        )
    write_atomically(file, data)


def _alone(file: Path) -> Lock:
    """One writer at a time: the file itself is replaced, so one beside it is locked."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return Lock(file.with_name(f".{file.name}.lock"))


def _unused(name: str, taken: set[str]) -> str:
    count = 1
    while (found := name if count == 1 else f"{name}-{count}") in taken:
        count += 1
    return found


def _rounded(number: float | None) -> float | None:
    """Six digits, which is more than an effect can claim; None for what is not finite."""
    if number is None or not abs(number) < float("inf"):
        return None
    return float(f"{number:.6g}")


def _today() -> str:
    return time.strftime("%Y-%m-%d")
