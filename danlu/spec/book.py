"""The recipe book: what each recipe says about itself, beside the experiment.

``published``: the year, parameters and tokens that its source tells. ``sources``: where the value of a
field, by its dotted name, comes from. ``unknown``: the fields that nobody published, whose values are a
guess. All are inherited from ``base``; a source of its own takes a field from the unknown ones of its base.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from pydantic import ValidationError

from danlu.files.yaml import brief, dump
from danlu.spec import catalog
from danlu.spec.base import PositiveInt, Spec
from danlu.spec.errors import SpecError, did_you_mean
from danlu.spec.experiment import Experiment
from danlu.spec.explain import explain
from danlu.spec.replay import MISSING, difference
from danlu.spec.words import laid, resolve, split


class Published(Spec):
    """What the source of a recipe tells about the model that it made."""

    year: PositiveInt | None = None
    parameters: PositiveInt | None = None
    tokens: PositiveInt | None = None


@dataclass(frozen=True)
class Entry:
    """A recipe with all that is said about it."""

    name: str
    summary: str
    source: str
    published: Published
    sources: Mapping[str, str]
    unknown: tuple[str, ...]
    experiment: Experiment

    @property
    def family(self) -> str:
        """What comes before the size: ``gpt3`` of ``gpt3-175b``."""
        return self.name.partition("-")[0]

    def said_of(self, field: str) -> str:
        """Where the value of a field comes from, and whether it is a guess; nothing where nothing is said."""
        source = self.sources.get(field, "")
        return "; ".join(part for part in (source, "not published" if field in self.unknown else "") if part)


@cache
def entry(name: str) -> Entry:
    """The recipe of that name. Raises SpecError where it, or what it says about itself, cannot be read."""
    about = _about(name)
    experiment = resolve([name])
    published = _published(about["published"], name)
    known = {*_names(experiment.model_dump()), *(f"published.{field}" for field in Published.model_fields)}
    for key in ("sources", "unknown"):
        for field in about[key]:
            if field not in known:
                hint = did_you_mean(field, known)
                raise SpecError(f"recipe {name}: {key} tells of {field}, which it has not{hint}")
    return Entry(
        name=name,
        summary=catalog.one_line(about["summary"]),
        source=catalog.one_line(about["source"]),
        published=published,
        sources=about["sources"],
        unknown=tuple(about["unknown"]),
        experiment=experiment,
    )


def entries() -> list[Entry]:
    """Every recipe, by year, family and size; those without a year first."""

    def order(one: Entry) -> tuple[int, str, int]:
        return one.published.year or 0, one.family, one.published.parameters or 0

    return sorted(map(entry, catalog.names("recipes")), key=order)


def to_yaml(experiment: Experiment, name: str) -> str:
    """``experiment`` as YAML; where it has a value of the recipe ``name``, what is said of that value stands
    beside it. Read back, it is the same experiment exactly."""
    text = dump(experiment.model_dump())
    if name not in catalog.names("recipes"):
        return text
    recipe = entry(name)
    now, values = experiment.model_dump(), recipe.experiment.model_dump()
    lines, path = [f"# {recipe.source}"], list[str]()
    for line in text.splitlines():
        if found := re.match(r"( *)(\w+):", line):
            path = [*path[: len(found[1]) // 2], found[2]]
            note = recipe.said_of(".".join(path))
            if note and _at(now, path) == _at(values, path):
                line += f"  # {note}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _at(values: Any, path: list[str]) -> Any:
    for name in path:
        values = values[name] if isinstance(values, Mapping) and name in values else _Nothing
    return values


class _Nothing:
    pass


def published_of(a: str, b: str) -> list[tuple[str, Any, Any]]:
    """What is published of two recipes, as rows of a difference; nothing where either is no bare name."""
    names = catalog.names("recipes")
    if a not in names or b not in names:
        return []
    one, two = entry(a).published, entry(b).published
    rows = [(f"published.{name}", getattr(one, name), getattr(two, name)) for name in Published.model_fields]
    return [row for row in rows if row[1] != row[2]]


def telling(a: Experiment, b: Experiment) -> list[tuple[str, Any, Any]]:
    """The difference of two experiments without what tells nothing: fields that one side's kind does not have
    and the other side leaves at their defaults."""
    rows = []
    for field, left, right in difference(a, b):
        if MISSING in (left, right):
            side = a if right is MISSING else b
            if _at_default(side, field):
                continue
        rows.append((field, left, right))
    return rows


class Change(NamedTuple):
    """A field that an idea changes: its value before and after (``–``: the part has no such field), and the
    rule that gives the value, where it is relative."""

    field: str
    before: Any
    after: Any
    rule: str


def changes(on: str, name: str) -> list[Change]:
    """What the idea changes on the experiment of the words ``on``, fields left at their defaults left out.
    Raises SpecError where it does not fit there, or changes nothing."""
    words = split(on)
    before = resolve(words)
    after, became = laid([*words, f"+{name}"])

    def rule(field: str) -> str:
        of = [one.rule for one in became[f"+{name}"] if f"{one.field}.".startswith(f"{field}.")]
        return "; ".join(dict.fromkeys(of))

    return [Change(field, left, right, rule(field)) for field, left, right in telling(before, after)]


def _at_default(part: Any, field: str) -> bool:
    *above, last = field.split(".")
    for name in above:
        part = getattr(part, name)
    return last != "kind" and getattr(part, last) == type(part).model_fields[last].default


def _about(name: str) -> dict[str, Any]:
    """What a recipe says about itself, over what its bases say."""
    written = catalog.read_recipe(name)
    base = written.get("base")
    below: dict[str, Any] = {"summary": "", "source": "", "published": {}, "sources": {}, "unknown": []}
    if base in catalog.names("recipes"):
        below = _about(base)
    sources = _mapping(written, "sources", name)
    unknown = written.get("unknown", [])
    if not isinstance(unknown, list) or not all(isinstance(field, str) for field in unknown):
        raise SpecError(f"recipe {name}: unknown = {brief(unknown)} is not a list of fields")
    return {
        "summary": written.get("summary", ""),
        "source": written.get("source", below["source"]),
        "published": {**below["published"], **_mapping(written, "published", name)},
        "sources": {**below["sources"], **{field: catalog.one_line(text) for field, text in sources.items()}},
        "unknown": [*(field for field in below["unknown"] if field not in {*sources, *unknown}), *unknown],
    }


def _mapping(written: Mapping[str, Any], key: str, name: str) -> Mapping[str, Any]:
    value = written.get(key, {})
    if not isinstance(value, Mapping):
        raise SpecError(f"recipe {name}: {key} = {brief(value)} is not a mapping of fields")
    return value


def _published(values: Mapping[str, Any], name: str) -> Published:
    try:
        return Published.model_validate(dict(values))
    except ValidationError as error:
        sentences = explain(error, values, Published).values()
        raise SpecError("\n".join(f"recipe {name}: published: {text}" for text in sentences)) from None


def _names(value: Any, inside: str = "") -> Iterator[str]:
    """The dotted name of every field, those that hold others too."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield f"{inside}{key}"
            yield from _names(part, f"{inside}{key}.")
