"""What a run keeps of the code of its own parts, and what a worker is sent of it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from danlu.code.digests import digest
from danlu.files.write import write_atomically
from danlu.parts.measures import used as measures_used
from danlu.parts.sources import forget, loaded, run
from danlu.spec.errors import SpecError, either
from danlu.spec.families import PARTS, Origin, Own, own_of
from danlu.spec.kept import record_of


def used(spec: BaseModel) -> list[Own]:
    """The own parts in a specification, each once."""
    found = {own.spec: own for part in _walk(spec) if (own := own_of(type(part)))}
    return list(found.values())


def _walk(value: Any) -> Iterator[BaseModel]:
    if isinstance(value, BaseModel):
        yield value
        for name in type(value).model_fields:
            yield from _walk(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from _walk(item)


def origins(*specs: BaseModel, also: Iterable[Own] = ()) -> dict[Origin, list[str]]:
    """Where the own parts of specifications, and others, come from, each with the names of its parts (``norm
    dyt``)."""
    found: dict[Origin, list[str]] = {}
    for own in {own.spec: own for own in (*(own for spec in specs for own in used(spec)), *also)}.values():
        found.setdefault(own.origin, []).append(f"{own.family} {own.kind}")
    return found


def own_files(spec: BaseModel) -> dict[str, str]:
    """The files of the own parts of a specification, by their whole path, with the digests of what was run
    (``danlu.code.digests``)."""
    return {
        str(origin.root / name): digest(text)
        for origin in origins(spec)
        if origin.root is not None
        for name, text in origin.texts.items()
    }


def digests(spec: BaseModel) -> list[str]:
    """Of the code of the own parts of a specification."""
    return sorted(origin.digest for origin in origins(spec))


# ---------------------------------------------------------------- a run's folder


def keep(experiment: BaseModel, folder: Path) -> list[dict[str, Any]]:
    """Copy the code of the own parts of ``experiment`` into ``folder/parts``.

    Returns what ``environment.json`` says of it, for each file ``name``, ``file`` (where it was), ``digest``,
    ``parts``, and ``copy``, relative to ``folder``; None where the code could not be had.
    """
    record = []
    for origin, parts in origins(experiment).items():
        place = Path(PARTS)
        if any((folder / place / name).exists() for name in origin.texts):
            place /= origin.digest  # another file of the same name
        for name, text in origin.texts.items():
            (folder / place / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / place / name, text)
        copy = (place / origin.main).as_posix() if origin.texts else None
        file = None if origin.file is None else str(origin.file)
        record.append(
            {"name": origin.name, "file": file, "digest": origin.digest, "parts": parts, "copy": copy}
        )
    return record


def check(record: Sequence[Mapping[str, Any]], experiment: BaseModel, folder: Path) -> None:
    """Raises ``SpecError`` where the own parts of ``experiment`` are not those that the run in ``folder`` has
    by its ``record``."""
    for part, entry in _changed(record, experiment):
        copy = f" (kept in {folder / entry['copy']})" if entry["copy"] else ""
        raise SpecError(
            f"{folder} was begun with another {part}: {entry['name']} has changed since then; bring "
            f"the old one back{copy}, or name another folder for the new one"
        )


def changed(experiment: BaseModel, folder: Path) -> str:
    """What to know before the model of the run in ``folder`` is used: that an own part of it has changed
    since it was trained, a sentence; nothing where none has."""
    for part, entry in _changed(record_of(folder), experiment):
        copy = f"; --with {folder / entry['copy']} has the old one" if entry["copy"] else ""
        return f"{folder} was trained with another {part}: {entry['name']} has changed since then{copy}"
    return ""


def _changed(
    record: Sequence[Mapping[str, Any]], experiment: BaseModel
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    began = {part: entry for entry in record for part in entry["parts"]}
    for origin, parts in origins(experiment).items():
        for part in parts:
            entry = began.get(part)
            if entry is not None and entry["digest"] != origin.digest:
                yield part, entry


# ---------------------------------------------------------------- a worker


def pack(*experiments: BaseModel, measures: Iterable[str] = ()) -> list[dict[str, Any]]:
    """The code of the own parts of ``experiments``, and of the own ones among ``measures``, as JSON, for
    ``unpack`` in another process. Raises ``SpecError`` for a part whose code cannot be had."""
    packed = []
    for origin, parts in origins(*experiments, also=measures_used(measures)).items():
        if not origin.texts:
            raise SpecError(
                f"the {either(parts)} was typed into {origin.name}, which no other process can see; write "
                'it to a file and danlu.load("mine.py")'
            )
        packed.append({
            "name": origin.name,
            "file": None if origin.file is None else str(origin.file),
            "root": None if origin.root is None else str(origin.root),
            "cell": origin.cell,
            "texts": {name: base64.b64encode(text).decode() for name, text in origin.texts.items()},
        })  # fmt: skip
    return packed


def unpack(packed: Sequence[Mapping[str, Any]]) -> None:
    """Have the own parts that were packed, and of what was run before no others. Raises ``SpecError`` where
    the code fails here."""
    wanted = [
        Origin(
            entry["name"],
            None if entry["file"] is None else Path(entry["file"]),
            None if entry["root"] is None else Path(entry["root"]),
            entry["cell"],
            {name: base64.b64decode(text) for name, text in entry["texts"].items()},
        )
        for entry in packed
    ]
    for origin in loaded():
        if origin not in wanted:
            forget(origin)
    for origin in wanted:
        run(origin)
