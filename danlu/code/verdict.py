"""Whether a result was made by the code that is here, as its record says.

A record is what ``record`` gives, JSON: ``python``, ``tier_a`` (one digest of all of danlu's files),
``files`` (the manifest: a digest of each file that the numbers depend on) and ``edited`` (those of them that
were changed while the result was made).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from danlu.code.digests import PYTHON
from danlu.code.tiers import UNSURE, Code, is_own, loaded, now

Verdict = Literal["same", "untouched", "other", "tainted"]
REUSED = ("same", "untouched")  # as good as made by the code that is here

Record = Mapping[str, Any]


def record(files: Mapping[str, str], before: Any = None) -> dict[str, Any]:
    """What is to be written of a result that depends on ``files`` (of a ``Recording``), and on what
    ``before`` says where another process began it."""
    old = manifest(before)
    here = now()
    changed = {
        name
        for name, digest in files.items()
        if old.get(name, digest) != digest
        or (not is_own(name) and (digest == UNSURE or here.of(name) != digest))  # one's own was handed over
    }
    said = {"python": PYTHON, "tier_a": loaded().tier_a, "files": {**old, **files}}
    return said | ({"edited": found} if (found := sorted({*changed, *edited(before)})) else {})


def judge(record: Any, code: Code) -> Verdict:
    """What a result is to ``code``. *same*: made by it. *untouched*: the code differs, no file that the
    result depends on does. *other*: one does, or nobody wrote down which they are. *tainted*: one was edited
    while the result was made."""
    if edited(record):
        return "tainted"
    files = manifest(record)
    same = isinstance(record, Mapping) and record.get("tier_a") == code.tier_a
    if any(code.of(name) != digest for name, digest in files.items() if is_own(name) or not same):
        return "other"
    return "same" if same else "untouched" if files else "other"


def differing(record: Any, code: Code) -> list[str]:
    """The files that make a result one of other code; none where nobody wrote down what it depends on."""
    return [name for name, digest in manifest(record).items() if code.of(name) != digest]


def manifest(record: Any) -> dict[str, str]:
    """The files of a record and their digests; none of what is no record."""
    files = record.get("files") if isinstance(record, Mapping) else None
    return {str(name): str(digest) for name, digest in files.items()} if isinstance(files, Mapping) else {}


def edited(record: Any) -> list[str]:
    """The files that were changed while the result was made."""
    found = record.get("edited") if isinstance(record, Mapping) else None
    return [str(name) for name in found] if isinstance(found, list) else []
