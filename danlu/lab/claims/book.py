"""The book of claims: sentences that the field states, each with an experiment that tests it.

A claim is a YAML file, ``danlu/catalog/claims/NAME.yaml`` or one of the user's own. It fixes the rule of its
verdict before anything is run. Reading one imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from danlu.files.errors import FileError
from danlu.files.yaml import is_file_name, read_mapping
from danlu.lab.claims.claim import Claim
from danlu.lab.claims.premises import with_kind
from danlu.lab.errors import LabError
from danlu.spec import catalog
from danlu.spec.errors import did_you_mean, either
from danlu.spec.explain import explain

SHELF = "claims"


def names() -> tuple[str, ...]:
    """The claims of the book, in alphabetical order."""
    return catalog.names(SHELF)


def claim(name: str) -> Claim:
    """The claim of that name, or in that YAML file. Raises LabError with the nearest name if there is none,
    or with a sentence for each problem that it has."""
    if is_file_name(name):
        return read(read_mapping(Path(name), name), name)
    if name not in names():
        holding = [known for known in names() if name in known][:3]
        hint = f"; did you mean {either(holding)}?" if holding else did_you_mean(name, names())
        raise LabError(f"there is no claim named {name}{hint or '.'} `danlu prove --list` shows all")
    return _of_the_book(name)


def claims(wanted: Iterable[str] | None = None) -> dict[str, Claim]:
    """Claims by name in the order given; left out, the whole book in the order of its rows."""
    if wanted is None:
        book = {name: claim(name) for name in names()}
        return dict(sorted(book.items(), key=lambda item: (_order(item[1].rows[0]), item[0])))
    return {Path(name).stem if is_file_name(name) else name: claim(name) for name in wanted}


def with_bases(chosen: Mapping[str, Claim]) -> dict[str, Claim]:
    """``chosen``, and the claims of the book of whose effects their margins are shares."""
    bases = (one.basis for one in chosen.values())
    return {**{basis: claim(basis) for basis in bases if basis and basis not in chosen}, **chosen}


def read(written: dict[str, Any], name: str) -> Claim:
    """A claim as it is written. Raises LabError with a sentence for each problem, after ``name``."""
    written = _as_read(written)
    try:
        return Claim.model_validate(written)
    except ValidationError as error:
        text = "\n".join(f"claim {name}: {said}" for said in explain(error, written, Claim).values())
    text = text.replace("a field of Claim", "a field of a claim").replace("anything", "a mapping by name")
    raise LabError(text)


@cache
def _of_the_book(name: str) -> Claim:
    try:
        written = read_mapping(resources.files("danlu") / "catalog" / SHELF / f"{name}.yaml", f"claim {name}")
    except FileError as error:
        raise LabError(str(error)) from None
    return read(written, name)


def _as_read(written: dict[str, Any]) -> dict[str, Any]:
    """Sentences on one line, premises with their kind."""
    said = {k: catalog.one_line(value) if isinstance(value, str) else value for k, value in written.items()}
    if isinstance(said.get("premises"), list):
        said["premises"] = [with_kind(premise) for premise in said["premises"]]
    return said


def _order(row: str) -> tuple[str, int]:
    return row[0], int(row[1:])
