"""What is compared: a baseline, and ideas laid over it, as a person writes them. No torch here.

An idea is one of the catalog's or registered, with or without ``+``; several joined (``qk-norm+swiglu``);
``field=value`` words; or a YAML file with an idea's ``patch`` or with an experiment's fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from danlu import spec
from danlu.files.yaml import is_file_name
from danlu.lab.errors import LabError
from danlu.lab.tuning import RATES
from danlu.lab.yardstick import why_apart
from danlu.spec import catalog
from danlu.spec.errors import SpecError
from danlu.spec.overrides import OVERRIDE
from danlu.spec.replay import difference
from danlu.spec.words import resolve, split

# Both sides of a pair must agree in these, beside what their metric is of, and why.
_LENGTH = "the length of the runs is --budget's"
_OWN = "a study sets it itself, for both sides"
COMMON = {
    "train.steps": _LENGTH,
    "train.tokens": _LENGTH,
    "train.seconds": _LENGTH,
    "train.seed": "pairs share their seeds, and their number is --seeds",
    "train.device": "the two sides would run on different machines; set it in --on, for both",
    "train.compile": _OWN,
    "train.internals_every": _OWN,
}


@dataclass(frozen=True)
class Idea:
    """``name``: as it is shown; ``words``: what is laid over the baseline; ``statement``: what it claims."""

    name: str
    words: tuple[str, ...]
    statement: str


def read_idea(text: str) -> Idea:
    """An idea from what a person wrote. Raises ``SpecError`` or ``LabError``, naming the nearest one there
    is."""
    words: list[str] = []
    statements: list[str] = []
    for word in split(text):
        if OVERRIDE.fullmatch(word):
            words.append(word)
            continue
        joined = word.removeprefix("+")
        for name in [joined] if is_file_name(joined) and Path(joined).exists() else joined.split("+"):
            if "." in name and not is_file_name(name):
                raise LabError(f"{name} names a field, and an idea gives it a value: '{name}=VALUE'")
            if not name:
                raise LabError(f"{text!r} has nothing where an idea is joined by +; write qk-norm+swiglu")
            statements.append(catalog.idea(name).statement)
            words.append(f"+{name}")
    if not words:
        raise LabError("an idea without a word; `danlu ideas` lists those of the catalog")
    statement = "; ".join(said for said in statements if said)
    short = [f"+{Path(word).stem}" if is_file_name(word) else word for word in words]
    name = text if "=" in text else "".join(short)
    return Idea(name, tuple(words), statement or f"{name} is better")


def read_sides(on: str, ideas: Sequence[str]) -> tuple[spec.Experiment, dict[Idea, spec.Experiment]]:
    """The baseline and each idea's experiment. Raises ``SpecError`` or ``LabError`` with one sentence for an
    idea that is unknown, changes nothing, or changes what both sides must share."""
    base_words = split(on)
    if not base_words:
        raise LabError("--on is empty; name the baseline as after danlu train, or leave --on out")
    baseline = resolve(base_words)
    found: dict[Idea, spec.Experiment] = {}
    for text in ideas:
        idea = read_idea(text)
        if any(other.words == idea.words for other in found):
            raise LabError(f"{idea.name} is given twice; give each idea once")
        try:
            variant = resolve([*base_words, *idea.words])
        except SpecError as error:
            raise SpecError(f"{idea.name} on {on}: {error}") from None
        _check(idea.name, on, baseline, variant)
        found[idea] = variant
    if not found:
        raise LabError("nothing to try; name an idea, such as qk-norm (`danlu ideas` lists them)")
    return baseline, found


def is_of_rates(baseline: spec.Experiment, variant: spec.Experiment) -> bool:
    """Whether the variant differs in rates of the optimizer alone: then these are what is asked about."""
    fields = [field.split(".") for field, *_ in difference(baseline, variant)]
    return all(field[0] == "optimizer" and field[-1] in RATES for field in fields)


def not_of_rates(baseline: spec.Experiment, variants: Mapping[Idea, spec.Experiment]) -> None:
    """Raises ``LabError`` for an idea of rates alone, where each side gets its own best rate anyway."""
    for idea, variant in variants.items():
        if is_of_rates(baseline, variant):
            raise LabError(
                f"{idea.name} sets nothing but a rate, and over sizes each side gets its own best one; "
                "try it at one size, without --across-scale"
            )


def _check(name: str, on: str, baseline: spec.Experiment, variant: spec.Experiment) -> None:
    if variant.effective() == baseline.effective():
        raise LabError(f"{name} changes nothing on {on}: both sides would be the same run; name another idea")
    free = {f"objective.{field}" for field in variant.objective.may_differ}
    for field, before, after in difference(baseline, variant):
        apart = None if ".".join(field.split(".")[:2]) in free else why_apart(field)
        why = f"{apart}; set it in --on, for both" if apart else COMMON.get(field)
        if why is not None:
            raise LabError(
                f"{name} sets {field} = {after} (on {on} it is {before}), which an idea may not: {why}"
            )
