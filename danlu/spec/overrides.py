"""Patches: how one layer of an experiment is laid over another.

Mappings merge; a mapping of another kind replaces the old one wholly, since the fields of two
kinds have nothing to do with each other; anything else is replaced. An experiment under
construction is a nested dict that always holds every field, so that a patch may name any one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from danlu.files.errors import FileError
from danlu.files.yaml import brief, parse
from danlu.spec.errors import SpecError, either
from danlu.spec.schema import Accepts, accepts, adapt, defaults
from danlu.spec.train import BOUNDS

OVERRIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*)=(.*)", re.DOTALL)
MESH = "train.mesh."  # where a run computes: its names give way to those of what it computes


def merge(old: Mapping[str, Any], patch: Mapping[str, Any], spec: type[BaseModel]) -> dict[str, Any]:
    """``patch`` laid over ``old``, both mappings of ``spec``. Unknown fields stay: the validation
    at the end names them."""
    merged = dict(old)
    for name, value in patch.items():
        if (to := accepts(spec).get(name)) is None:
            merged[name] = value
            continue
        value, before = adapt(value, to), old.get(name)
        part_before = to.spec_of(before)
        kind_before = before.get("kind") if part_before and isinstance(before, Mapping) else None
        part = to.spec_of(value, kind_before) if isinstance(value, Mapping) else None
        if part is None:
            merged[name] = value
        elif name in old and not _may_stand(before, to):
            continue  # a file says `train: 3`: what is laid over it must not hide that
        else:
            merged[name] = merge(_carried(before, part_before, part), value, part)
    return merged


def _may_stand(value: Any, to: Accepts) -> bool:
    """Whether a value that is no mapping may stand where a mapping may."""
    if isinstance(value, Mapping):
        return True
    if value is None:
        return to.none
    return (
        type(value) in to.scalars or (to.items is not None and isinstance(value, tuple)) or value in to.words
    )


def _carried(before: Any, old: type[BaseModel] | None, new: type[BaseModel]) -> dict[str, Any]:
    """What a new part starts from: the old one if it is of the same kind, else its own defaults, but for
    what was set of the fields that both inherit (an encoder keeps the shape of the decoder that it takes the
    place of)."""
    if not isinstance(before, Mapping) or old is None:
        return defaults(new)
    if old is new:
        return dict(before)
    common = next(base for base in new.__mro__ if issubclass(old, base))
    shared = set(getattr(common, "model_fields", ())) - {"kind"}
    unchanged = defaults(old)
    return defaults(new) | {
        name: value for name, value in before.items() if name in shared and value != unchanged.get(name)
    }


def nested(patch: Mapping[str, Any], inside: str = "") -> dict[str, Any]:
    """Dotted keys opened up: ``{model.norm.gain: false}`` → ``{model: {norm: {gain: false}}}``."""
    opened: dict[str, Any] = {}
    for key, value in patch.items():
        if isinstance(value, Mapping):
            value = nested(value, f"{inside}{key}.")
        *path, last = key.split(".")
        if not all((*path, last)):
            raise SpecError(f"{inside}{key} is not a field: a dot needs a name on either side")
        for part in reversed((*path, last)):
            value = {part: value}
        _unite(opened, value, inside)
    return opened


def _unite(into: dict[str, Any], more: Mapping[str, Any], inside: str) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _unite(into[key], value, f"{inside}{key}.")
        elif key in into:
            raise SpecError(f"{inside}{key} is given twice")
        else:
            into[key] = value


def leaves(patch: Mapping[str, Any], inside: str = "") -> dict[str, Any]:
    """Every value of a nested mapping by its dotted name."""
    found: dict[str, Any] = {}
    for key, value in patch.items():
        if isinstance(value, Mapping) and value:
            found |= leaves(value, f"{inside}{key}.")
        else:
            found[f"{inside}{key}"] = value
    return found


def bounds_in(patch: Mapping[str, Any]) -> set[str]:
    """The bounds of the run (steps, tokens, seconds) that a patch sets."""
    train = patch.get("train")
    given = train if isinstance(train, Mapping) else {}
    return {bound for bound in BOUNDS if given.get(bound) not in (None, "none")}


def clear_bounds(patch: dict[str, Any], keep: set[str]) -> dict[str, Any]:
    """A patch that bounds the run takes away the bounds laid below it, but those in ``keep``:
    any one of the three ends a run, so an inherited one would cut the new one short."""
    if not bounds_in(patch):
        return patch
    return patch | {"train": dict.fromkeys(set(BOUNDS) - keep) | patch["train"]}


def full_name(name: str, current: Mapping[str, Any], root: type[BaseModel]) -> str:
    """The field that a name means: itself, or the one that its first part is the end of (``lr``,
    ``mixer.heads``); of several the one of ``train`` (``steps``, ``seed``), else the one that is a part
    (``model.norm``, not ``model.mixer.qk_norm.norm``), else one that is not of ``train.mesh`` (``context``).
    A name that no field ends with is left as it is: the check of the whole says what was probably meant.
    Raises SpecError where several fields may be meant."""
    first, dot, rest = name.partition(".")
    if first in accepts(root):
        return name
    found = {field: to for field, to in _fields(current, root) if field.endswith(f".{first}")}
    found = {field: to for field, to in found.items() if not field.startswith(MESH)} or found
    parts = [field for field, to in found.items() if to.specs]
    of_train = [field for field in found if field == f"train.{first}"]
    meant = of_train or (parts if len(parts) == 1 else list(found))
    if len(meant) > 1:
        raise SpecError(f"{first} may be {either(meant)}; write the full name")
    return f"{meant[0]}{dot}{rest}" if meant else name


def _fields(
    values: Mapping[str, Any], spec: type[BaseModel], inside: str = ""
) -> Iterator[tuple[str, Accepts]]:
    """Every field of the parts that stand, by its dotted name, and what it accepts."""
    for name, to in accepts(spec).items():
        yield inside + name, to
        value = values.get(name)
        if isinstance(value, Mapping) and (part := to.spec_of(value)) is not None:
            yield from _fields(value, part, f"{inside}{name}.")


def parse_override(key: str, text: str, current: Mapping[str, Any], root: type[BaseModel]) -> dict[str, Any]:
    """``train.steps``, ``2k`` → ``{train: {steps: ...}}``. Where only text can stand the value is taken
    as it is, so that ``data.corpus=*.txt`` needs no quotes; elsewhere it is read as YAML."""
    to = _field(key.split("."), current, root)
    if not text.strip():
        none = f"; for none write {key}=none" if to is not None and to.none else ""
        raise SpecError(f"{key} has no value: write {key}=VALUE{none}")
    if to is not None and to.only_text:
        return nested({key: text})
    try:
        return nested({key: parse(text)})
    except FileError as error:
        raise SpecError(f"{key} = {brief(text)}: {error}") from None


def _field(path: list[str], current: Mapping[str, Any], spec: type[BaseModel]) -> Accepts | None:
    """What the field at ``path`` accepts, the kinds being those chosen so far."""
    part: type[BaseModel] | None = spec
    value: Any = current
    to = None
    for name in path:
        to = accepts(part).get(name) if part is not None else None
        if to is None:
            return None
        value = value.get(name) if isinstance(value, Mapping) else None
        part = to.spec_of(value)
    return to
