"""pydantic's report → sentences that name the field, the value, what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from danlu.files.yaml import brief
from danlu.spec.errors import either, nearest
from danlu.spec.families import KIND
from danlu.spec.schema import Accepts, accepts, kinds_of

# What other frameworks call our fields.
ALIASES = {
    "learning_rate": "lr", "batch_size": "batch", "micro_batch": "microbatch", "block_size": "context",
    "seq_len": "context", "sequence_length": "context", "max_steps": "steps", "max_iters": "steps",
    "n_layer": "layers", "n_layers": "layers", "num_layers": "layers", "depth": "layers",
    "n_head": "heads", "n_heads": "heads", "num_heads": "heads", "n_kv_heads": "kv_heads",
    "n_embd": "width", "d_model": "width", "hidden_size": "width", "dim": "width", "d_ff": "hidden",
    "grad_clip": "clip", "max_grad_norm": "clip", "clip_grad_norm": "clip", "gradient_clipping": "clip",
    "activation_checkpointing": "recompute", "gradient_checkpointing": "recompute",
    "gradient_accumulation": "microbatch", "gradient_accumulation_steps": "microbatch",
    "batch_size_warmup": "ramp", "rampup_batch_size": "ramp", "epochs": "steps", "ema": "average",
    "dtype": "precision", "mixed_precision": "precision", "amp": "precision",
    "dataset": "corpus", "vocab_size": "vocabulary", "max_position_embeddings": "context",
    "attention": "mixer", "mlp": "feed_forward", "ffn": "feed_forward", "lm_head_bias": "readout_bias",
    "tie_word_embeddings": "tied", "tie_embeddings": "tied", "elementwise_affine": "gain", "weight": "gain",
    "task": "objective", "wd": "weight_decay", "betas": "beta1",
}  # fmt: skip


KEY = "[key]"  # how pydantic ends the place of a name in a mapping that is not allowed


class _Place(NamedTuple):
    """Where a problem is: the path as a user writes it, the specification that the last name
    belongs to, what it accepts, and the specification that stands there (if one does)."""

    path: list[str]
    owner: type[BaseModel] | None
    to: Accepts | None
    part: type[BaseModel] | None


def explain(error: ValidationError, given: Mapping[str, Any], root: type[BaseModel]) -> dict[str, str]:
    """One sentence for each field at fault, by the field's dotted name (``""``: the whole)."""
    said: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        place = _locate(problem["loc"], root, given)
        name = ".".join(place.path)
        if problem["type"] == "extra_forbidden":
            said.setdefault(name, _unknown(place, given, root))
        elif problem["type"] in ("value_error", "assertion_error"):
            said.setdefault(name, _refused(str(problem["ctx"]["error"]), name, place.part))
        elif problem["loc"][-1] == KEY and place.to is not None:
            said.setdefault(name, f"{name} is not known; allowed: {place.to.describe()}")
        elif problem["type"] == "missing":
            said.setdefault(name, _missing(name, place))
        else:
            said.setdefault(name, _wrong(name, problem["input"], place.to))
    # Of a union, pydantic reports every member's refusal: the deepest is the one that was meant.
    return {name: text for name, text in said.items() if not any(n.startswith(f"{name}.") for n in said)}


def _locate(loc: tuple[int | str, ...], root: type[BaseModel], given: Any) -> _Place:
    """Read pydantic's location. Of a closed union it has the name of the member in the path; of an open
    family it has none, and what was given there says the member."""
    path: list[str] = []
    owner: type[BaseModel] | None = None
    part: type[BaseModel] | None = root
    to: Accepts | None = Accepts(specs=(root,))
    for step, element in enumerate(loc):
        if isinstance(element, int):
            path.append(str(element))
            given = given[element] if isinstance(given, list | tuple) and element < len(given) else None
            to = to.items if to else None
            part = _standing(to, given)
        elif part is not None and (element in part.model_fields or step == len(loc) - 1):
            path.append(element)
            given = given.get(element) if isinstance(given, Mapping) else None
            owner, to = part, accepts(part).get(element)
            default = part.model_fields[element].default if element in part.model_fields else None
            part = _standing(to, given, default)
        elif part is None and to is not None and element in to.kinds:
            part = to.kinds[element]
        elif to is not None and to.entries is not None and element != KEY:
            path.append(element)
            given = given.get(element) if isinstance(given, Mapping) else None
            names, to = to.entries
            if loc[-1] == KEY:
                to = names
    return _Place(path, owner, to, part)


def _standing(to: Accepts | None, given: Any, default: Any = None) -> type[BaseModel] | None:
    """The specification that stands in a place, where it is the only one or belongs to an open family."""
    if to is None or (to.family is None and len(to.specs) != 1):
        return None
    kind = {"kind": given} if isinstance(given, str) else {} if given is None else given
    return to.spec_of(kind, getattr(default, "kind", None))


def _missing(name: str, place: _Place) -> str:
    what = f" ({place.to.describe()})" if place.to and place.to != Accepts() else ""
    meant = "" if place.owner is None else _meaning(place.owner, place.path[-1])
    return f"{name} is missing; write {name}=…{what}" + (f": {meant}" if meant else "")


def _meaning(spec: type[BaseModel], field: str) -> str:
    """What the specification says of a field: what stands behind its name and a colon, else the sentence that
    it is in."""
    text = " ".join((spec.__doc__ or "").split())
    defined = re.search(rf"``{field}``: (.+?)(?:;|\.(?= |$)|$)", text)
    inside = [one for one in re.split(r"\.(?= [A-Z`\[]|$)", text) if f"``{field}``" in one]
    found = defined[1] if defined else inside[0].strip() if inside else ""
    found = found.replace("``", "")
    return found if found[1:2].isupper() else found[:1].lower() + found[1:]


def _refused(sentence: str, name: str, part: type[BaseModel] | None) -> str:
    """A validator's own sentence; its names are those of its part and become whole ones."""
    if not name:
        return sentence

    def whole(match: re.Match[str]) -> str:
        first = match[0].partition(".")[0]
        return f"{name}.{match[0]}" if part and first in part.model_fields else match[0]

    said = re.sub(r"\b[a-z_]\w*(?:(?:\.\w+)+|(?= = ))", whole, sentence)
    return said if said != sentence else f"{name}: {sentence}"


def _wrong(name: str, value: Any, to: Accepts | None) -> str:
    if to is None:
        return f"{name} = {brief(value)} is not allowed"
    words = (*to.words, *to.kinds)
    if isinstance(value, Mapping) and to.kinds and isinstance(value.get("kind"), str):
        name, value = f"{name}.kind", value["kind"]
    elif isinstance(value, Mapping) and to.kinds and "kind" not in value:
        return f"{name} needs a kind: {either(to.kinds)}"
    sentence = f"{name} = {brief(value)} is not {to.describe()}"
    if isinstance(value, str) and (hint := nearest(value, words)):
        return f"{sentence}; did you mean {hint}?"
    own = isinstance(value, str) and to.family is not None and KIND.fullmatch(value)
    return f"{sentence}; a part of your own is in a file: --with FILE" if own else sentence


def _unknown(place: _Place, given: Mapping[str, Any], root: type[BaseModel]) -> str:
    owner = place.owner
    *above, wrong = place.path
    inside = ".".join(above)
    prefix = f"{inside}." if inside else ""
    fields = list(owner.model_fields) if owner else []
    kinds = kinds_of(owner) if owner else ()
    root_name = "an experiment" if root.__name__ == "Experiment" else root.__name__
    whole = (inside or root_name) + (f" (kind {kinds[0]})" if len(kinds) == 1 else "")
    sentence = f"{prefix}{wrong} is not a field of {whole}"
    if other := _kind_with(wrong, above, given, root):
        goes = _goes(above, other, given, root)
        advice = f"; write {inside}={other} first." if goes else ", which does not go with the rest."
        sentence += f", but of kind {other}{advice}"
    elif hint := " or ".join(_meant(wrong, prefix, fields, list(_walk(given, root)))):
        sentence += f"; did you mean {hint}?"
    else:
        sentence += "."
    return f"{sentence} Fields: {', '.join(f for f in fields if f != 'kind')}"


def _meant(wrong: str, prefix: str, fields: list[str], known: list[str]) -> list[str]:
    """The fields that were probably meant: this name or its other one in the same part, then elsewhere, then
    the nearest spelling here, then the nearest spelling anywhere."""
    names = (wrong, ALIASES.get(wrong, wrong))
    named = [[name for name in known if name.rpartition(".")[2] == word] for word in names]
    near = [[name for name in same if name.startswith(prefix)] for same in named]
    if same := next(filter(None, [*near, *named]), None):
        return same[:3]
    if close := nearest(wrong, (field for field in fields if field != "kind")):
        return [prefix + close]
    if close := nearest(wrong, [name.rpartition(".")[2] for name in known]):
        return [name for name in known if name.rpartition(".")[2] == close][:3]
    return []


def _walk(given: Mapping[str, Any], spec: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every dotted name of the parts that the experiment has now."""
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


def _kind_with(wrong: str, above: list[str], given: Mapping[str, Any], root: type[BaseModel]) -> str | None:
    """Another kind of the part at ``above`` that has the field."""
    to = Accepts(specs=(root,))
    part: type[BaseModel] | None = root
    value: Any = given
    for name in above:
        if part is None or (found := accepts(part).get(name)) is None:
            return None
        to, value = found, value.get(name)
        part = to.spec_of(value)
    return next((kind for kind, spec in to.kinds.items() if wrong in spec.model_fields), None)


def _goes(above: list[str], kind: str, given: Mapping[str, Any], root: type[BaseModel]) -> bool:
    """Whether the experiment can have this kind of the part at ``above``: else to write it is no advice."""
    changed: dict[str, Any] = {**given}
    part = changed
    for name in above[:-1]:
        part[name] = {**part[name]}
        part = part[name]
    part[above[-1]] = {"kind": kind}
    try:
        root.model_validate(changed)
    except ValidationError as error:
        inside = tuple(above)
        return all(tuple(map(str, one["loc"]))[: len(inside)] == inside for one in error.errors())
    return True


def label_of(name: str, labels: Mapping[str, str]) -> str:
    """The file that the value of a field comes from, or nothing."""
    while name:
        if name in labels:
            return labels[name]
        name = name.rpartition(".")[0]
    return ""
