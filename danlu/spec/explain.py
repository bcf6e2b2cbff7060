"""pydantic's report → sentences that name the field, the value, what is allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from danlu.spec.errors import either, nearest
from danlu.spec.schema import Accepts, accepts
from danlu.spec.text import brief

# What other frameworks call our fields.
ALIASES = {
    "learning_rate": "lr", "batch_size": "batch", "micro_batch": "microbatch", "block_size": "context",
    "seq_len": "context", "sequence_length": "context", "max_steps": "steps", "max_iters": "steps",
    "n_layer": "layers", "n_layers": "layers", "num_layers": "layers", "depth": "layers",
    "n_head": "heads", "n_heads": "heads", "num_heads": "heads", "n_kv_heads": "kv_heads",
    "n_embd": "width", "d_model": "width", "hidden_size": "width", "dim": "width", "d_ff": "hidden",
    "grad_clip": "clip", "dtype": "precision", "dataset": "corpus", "attention": "mixer",
    "mlp": "feed_forward", "ffn": "feed_forward", "wd": "weight_decay", "betas": "beta1",
}  # fmt: skip


def explain(error: ValidationError, given: Mapping[str, Any], root: type[BaseModel]) -> dict[str, str]:
    """One sentence for each field at fault, by the field's dotted name (``""``: the whole)."""
    said: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        path, owner, to = _locate(problem["loc"], root)
        name = ".".join(path)
        if problem["type"] == "extra_forbidden":
            said.setdefault(name, _unknown(path, owner, given, root))
        elif problem["type"] in ("value_error", "assertion_error"):
            sentence = str(problem["ctx"]["error"])
            said.setdefault(name, f"{name}: {sentence}" if name else sentence)
        elif problem["type"] == "missing":
            said.setdefault(name, f"{name} is missing; allowed: {to.describe() if to else 'a value'}")
        else:
            said.setdefault(name, _wrong(name, problem["input"], to))
    return said


def _locate(
    loc: tuple[int | str, ...], root: type[BaseModel]
) -> tuple[list[str], type[BaseModel] | None, Accepts | None]:
    """pydantic's location → the path as a user writes it, the specification that the last name
    belongs to, and what it accepts. pydantic mixes in the names of union members."""
    path: list[str] = []
    owner: type[BaseModel] | None = None
    part: type[BaseModel] | None = root
    to: Accepts | None = Accepts(specs=(root,))
    for step, element in enumerate(loc):
        if isinstance(element, int):
            path.append(str(element))
            to = to.items if to else None
            part = to.spec_of({}) if to else None
        elif part is not None and (element in part.model_fields or step == len(loc) - 1):
            path.append(element)
            owner, to = part, accepts(part).get(element)
            part = to.specs[0] if to and len(to.specs) == 1 else None
        elif part is None and to is not None and element in to.kinds:
            part = to.kinds[element]
    return path, owner, to


def _wrong(name: str, value: Any, to: Accepts | None) -> str:
    if to is None:
        return f"{name} = {brief(value)} is not allowed"
    words = (*to.words, *to.kinds)
    if isinstance(value, Mapping) and to.kinds and isinstance(value.get("kind"), str):
        name, value = f"{name}.kind", value["kind"]
    elif isinstance(value, Mapping) and to.kinds and "kind" not in value:
        return f"{name} needs a kind: {either(to.kinds)}"
    hint = nearest(value, words) if isinstance(value, str) else None
    return f"{name} = {brief(value)} is not {to.describe()}" + (f"; did you mean {hint}?" if hint else "")


def _unknown(
    path: list[str], owner: type[BaseModel] | None, given: Mapping[str, Any], root: type[BaseModel]
) -> str:
    *above, wrong = path
    inside = ".".join(above)
    prefix = f"{inside}." if inside else ""
    fields = list(owner.model_fields) if owner else []
    kind = owner.model_fields["kind"].default if owner and "kind" in fields else None
    place = inside or "an experiment"
    if kind is not None:
        place += f" (kind {kind})"
    sentence = f"{'.'.join(path)} is not a field of {place}"
    if other := _kind_with(wrong, above, owner, root):
        sentence += f", but of kind {other}; write {inside}={other} first."
    elif hint := " or ".join(_meant(wrong, prefix, fields, given)):
        sentence += f"; did you mean {hint}?"
    else:
        sentence += "."
    return f"{sentence} Fields: {', '.join(f for f in fields if f != 'kind')}"


def _meant(wrong: str, prefix: str, fields: list[str], given: Mapping[str, Any]) -> list[str]:
    """The fields that were probably meant: the same name elsewhere, then the nearest spelling here,
    then the nearest spelling anywhere."""
    known = _known(given)
    for word in (wrong, ALIASES.get(wrong, wrong)):
        same = [name for name in known if name.rpartition(".")[2] == word]
        if same:
            near = [name for name in same if name.startswith(prefix)]
            return (near or same)[:3]
    if close := nearest(wrong, (field for field in fields if field != "kind")):
        return [prefix + close]
    if close := nearest(wrong, [name.rpartition(".")[2] for name in known]):
        return [name for name in known if name.rpartition(".")[2] == close][:3]
    return []


def _known(given: Mapping[str, Any]) -> list[str]:
    """Every dotted name of the experiment's present parts, sections before fields. Names that
    nobody knows are in ``given`` too; those of the specifications alone are wanted."""
    from danlu.spec.experiment import Experiment  # what is known is asked only once something is wrong

    return list(_walk(given, Experiment, ""))


def _walk(given: Mapping[str, Any], spec: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, to in accepts(spec).items():
        if name == "kind":
            continue
        yield prefix + name
        value = given.get(name)
        part = to.spec_of(value) if isinstance(value, Mapping) else None
        if part is None and len(to.specs) == 1:
            part, value = to.specs[0], {}  # an optional part, not there now
        if part is not None and isinstance(value, Mapping):
            yield from _walk(value, part, f"{prefix}{name}.")


def _kind_with(
    wrong: str, above: list[str], owner: type[BaseModel] | None, root: type[BaseModel]
) -> str | None:
    """Another kind of the same part that has the field."""
    to: Accepts | None = None
    part: type[BaseModel] | None = root
    for name in above:
        to = accepts(part).get(name) if part else None
        part = to.specs[0] if to and to.specs else None
    for kind, spec in (to.kinds if to else {}).items():
        if spec is not owner and wrong in spec.model_fields:
            return kind
    return None


def label_of(name: str, labels: Mapping[str, str]) -> str:
    """The file that the value of a field comes from, or nothing."""
    while name:
        if name in labels:
            return labels[name]
        name = name.rpartition(".")[0]
    return ""
