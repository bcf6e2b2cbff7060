"""Recipes and ideas: YAML files inside the package, and ideas of the user's own.

A recipe is an experiment: ``summary``, ``source`` and any of the experiment's sections, over
``base`` or over the defaults; what else it says about itself is read by ``danlu.spec.book``. An idea
is a patch: ``statement``, ``source``, ``family``, ``patch`` and ``expect`` (what should change); values of
the patch may follow from the experiment, and ``needs`` says on which ones the idea makes sense
(``danlu.spec.relative``); ``on`` is the recipe that it is tried on where nothing else is said. An own idea
is a YAML file, of which ``patch`` alone is required, or comes from ``register_idea``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from danlu.files.yaml import brief, is_file_name, read_mapping
from danlu.spec import plugins
from danlu.spec.errors import SpecError, did_you_mean
from danlu.spec.overrides import nested

ABOUT_RECIPE = ("summary", "source", "published", "sources", "unknown")
ABOUT_IDEA = ("statement", "source", "family", "patch", "expect")
MAY = ("needs", "on")  # of an idea, too, and may be left out

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

# Names that ideas had before, and what they are called now.
FORMER = {"qk-gain": "qk-norm", "qk-norm-layer": "qk-layernorm", "norm-bias": "layer-norm"}


@dataclass(frozen=True)
class Idea:
    """A small change to an experiment, what it claims, and where it comes from."""

    name: str
    statement: str
    source: str
    family: str
    patch: Mapping[str, Any]
    expect: str
    needs: Mapping[str, str] = field(default_factory=dict)
    on: str = ""


OWN: dict[str, Idea] = {}  # registered in this process


def register_idea(
    name: str,
    patch: Mapping[str, Any],
    *,
    statement: str = "",
    source: str = "",
    family: str = "own",
    expect: str = "",
    needs: Mapping[str, str] | None = None,
    on: str = "",
) -> Idea:
    """Make ``+name`` an idea in this process: in words, lists and errors like those of the catalog.

    ``patch``: fields and values, names with dots or nested, as in YAML; ``needs``: comparisons that must hold
    for an experiment, each with a reason; ``on``: the recipe that it is tried on where nothing else is said.
    A name registered before is given anew. Raises SpecError for a name of the catalog, or one that cannot
    stand after a ``+``.
    """
    if name in (*_names("ideas"), *FORMER):
        raise SpecError(f"idea {name}: the catalog has an idea of this name; choose another")
    if not NAME.fullmatch(name):
        raise SpecError(f"idea {brief(name)}: a name is letters, digits, - and _, such as my-norm")
    texts = {"statement": statement, "source": source, "family": family, "expect": expect}
    OWN[name] = _made(name, {**texts, "patch": patch, "needs": needs or {}, "on": on}, f"idea {name}")
    return OWN[name]


def forget_idea(name: str) -> None:
    """Undo ``register_idea``. Nothing happens where there is no such idea."""
    OWN.pop(name, None)


def names(shelf: str) -> tuple[str, ...]:
    """What stands on a shelf of the catalog (``recipes``, ``ideas``), in alphabetical order; with the
    ideas those that were registered."""
    return tuple(sorted((*_names(shelf), *OWN))) if shelf == "ideas" else _names(shelf)


@cache
def _names(shelf: str) -> tuple[str, ...]:
    folder = resources.files("danlu") / "catalog" / shelf
    if not folder.is_dir():
        return ()
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


def read_recipe(name: str) -> dict[str, Any]:
    """The mapping of a recipe as it is written, a new one at each call."""
    return deepcopy(_read("recipes", name))


def idea(name: str) -> Idea:
    """An idea by name, by a name that it had before, or by the path of its YAML file. Raises SpecError, with
    the nearest name if there is none."""
    if is_file_name(name):
        return read_idea(name)
    if name not in names("ideas"):
        plugins.load()
    return OWN.get(name) or _of_catalog(FORMER.get(name, name))


def read_idea(path: str) -> Idea:
    """The idea of a YAML file, called by its path: a mapping with ``patch``, or the fields of a patch."""
    written = read_mapping(Path(path), path)
    if "patch" not in written:
        written = {"patch": written}
    fields = (*ABOUT_IDEA, *MAY)
    if unknown := sorted(set(written) - set(fields)):
        hint = did_you_mean(unknown[0], fields) or "."
        raise SpecError(f"{path}: {unknown[0]} is not a field of an idea{hint} Fields: {', '.join(fields)}")
    blank = {"statement": "", "source": path, "family": "own", "expect": ""}
    return _made(path, {**blank, **written}, path)


@cache
def _of_catalog(name: str) -> Idea:
    written = _read("ideas", name)
    if problems := sorted(set(ABOUT_IDEA) ^ (set(written) - set(MAY))):
        raise SpecError(f"idea {name}: missing or unknown: {', '.join(problems)}")
    return _made(name, written, f"idea {name}")


def _made(name: str, written: Mapping[str, Any], label: str) -> Idea:
    patch = written["patch"]
    if not isinstance(patch, Mapping) or not patch:
        raise SpecError(
            f"{label}: patch = {brief(patch)} is not a mapping of fields, such as model.norm: layer"
        )
    needs = written.get("needs", {})
    if not isinstance(needs, Mapping):
        raise SpecError(f"{label}: needs = {brief(needs)} is not a mapping of comparisons to reasons")
    texts = {key: one_line(written[key]) for key in ABOUT_IDEA if key != "patch"}
    reasons = {rule: one_line(reason) for rule, reason in needs.items()}
    try:
        return Idea(
            name=name, patch=nested(patch), needs=reasons, on=one_line(written.get("on", "")), **texts
        )
    except SpecError as error:
        raise SpecError(f"{label}: {error}") from None


def ideas() -> list[Idea]:
    """Every idea, by family and name."""
    plugins.load()
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
        hint = did_you_mean(name, known, sign) or "."
        raise SpecError(f"there is no {single} named {name}{hint} `danlu {shelf}` lists all")
    return read_mapping(resources.files("danlu") / "catalog" / shelf / f"{name}.yaml", f"{single} {name}")
