"""Recipes and ideas: YAML files inside the package.

A recipe is an experiment: ``summary``, ``source`` and any of the experiment's sections, over
``base`` or over the defaults; what else it says about itself is read by ``danlu.spec.book``. An idea
is a patch: ``statement``, ``source``, ``family``, ``patch`` and ``expect`` (what should change).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from danlu.spec.errors import SpecError, did_you_mean
from danlu.spec.overrides import nested
from danlu.spec.text import brief, read_mapping

ABOUT_RECIPE = ("summary", "source", "published", "sources", "unknown")


@dataclass(frozen=True)
class Idea:
    """A small change to an experiment, what it claims, and where it comes from."""

    name: str
    statement: str
    source: str
    family: str
    patch: Mapping[str, Any]
    expect: str


@cache
def names(shelf: str) -> tuple[str, ...]:
    """What stands on a shelf of the catalog (``recipes``, ``ideas``), in alphabetical order."""
    folder = resources.files("danlu") / "catalog" / shelf
    if not folder.is_dir():
        return ()
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


def read_recipe(name: str) -> dict[str, Any]:
    """The mapping of a recipe as it is written, a new one at each call."""
    return deepcopy(_read("recipes", name))


@cache
def idea(name: str) -> Idea:
    """An idea by name. Raises SpecError with the nearest name if there is none."""
    written = _read("ideas", name)
    wanted = {"statement", "source", "family", "patch", "expect"}
    if problems := sorted(wanted ^ set(written)):
        raise SpecError(f"idea {name}: missing or unknown: {', '.join(problems)}")
    if not isinstance(written["patch"], Mapping) or not written["patch"]:
        raise SpecError(f"idea {name}: patch = {brief(written['patch'])} is not a mapping of fields")
    texts = {key: one_line(written[key]) for key in wanted - {"patch"}}
    return Idea(name=name, patch=nested(written["patch"]), **texts)


def ideas() -> list[Idea]:
    """Every idea, by family and name."""
    return sorted((idea(name) for name in names("ideas")), key=lambda found: (found.family, found.name))


def one_line(text: Any) -> str:
    """A text of several lines as one."""
    return " ".join(str(text).split())


@cache
def _read(shelf: str, name: str) -> dict[str, Any]:
    single = shelf.removesuffix("s")
    known = names(shelf)
    if name not in known:
        sign = "+" if single == "idea" else ""
        hint = did_you_mean(name, known, sign)
        raise SpecError(f"there is no {single} named {name}{hint or '.'} {shelf.title()}: {', '.join(known)}")
    return read_mapping(resources.files("danlu") / "catalog" / shelf / f"{name}.yaml", f"{single} {name}")
