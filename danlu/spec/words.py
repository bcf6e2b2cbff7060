"""From words to an experiment: ``tiny +swiglu optimizer.lr=1e-3``.

The first word names a recipe, a YAML file or a run's folder (``tiny`` when it is left out);
``+idea`` (of the catalog, or ``+PATH.yaml``) and ``field=value`` are laid over it in the order given. The
end of a field's name is enough where no other field ends so (``lr=1e-3``). An idea's values may follow from
the experiment as it is at that place (``danlu.spec.relative``). What comes out is checked as a whole, once,
at the end: the words between may pass through states that no run could have.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from danlu.files.errors import FileError, not_a_run
from danlu.files.yaml import brief, is_file_name, read_mapping
from danlu.spec import catalog, relative
from danlu.spec.errors import SpecError, did_you_mean
from danlu.spec.experiment import Experiment
from danlu.spec.explain import explain, label_of
from danlu.spec.kept import lacking
from danlu.spec.overrides import (
    OVERRIDE,
    bounds_in,
    clear_bounds,
    full_name,
    leaves,
    merge,
    nested,
    parse_override,
)
from danlu.spec.schema import defaults

DEFAULT = "tiny"
RUN_FILE = "experiment.yaml"
PRINTED = "danlu.show/1"  # what an experiment calls itself that danlu show --json printed


def resolve(
    words: Sequence[str] | str = (), change: Callable[[Experiment], Experiment] | None = None
) -> Experiment:
    """The experiment that the words mean, a list or one string of them; ``change`` is done to what the first
    names, before ideas and fields are laid over it. Raises SpecError, a sentence for each problem."""
    return laid(words, change)[0]


def laid(
    words: Sequence[str] | str = (), change: Callable[[Experiment], Experiment] | None = None
) -> tuple[Experiment, dict[str, list[relative.Became]]]:
    """``resolve``, and what the relative values of each idea became, by the word that lays it."""
    base, patches = _parted(words)
    start = _Draft()
    start.read(base)
    if change is not None:
        start.values, start.labels = change(start.check()).model_dump(), {}
    draft = _laid(start, patches)
    experiment = draft.check()
    _check_ideas(base, start, [word for word in patches if word.startswith("+")])
    return experiment, draft.became


def over(experiment: Experiment, words: Sequence[str]) -> Experiment:
    """``experiment`` with ideas and fields laid over it. Raises as ``resolve``."""
    return resolve([DEFAULT, *words], lambda _: experiment)


def in_full(words: Sequence[str]) -> list[str]:
    """The words with the full names of fields: ``optimizer.lr=1e-3`` in place of ``lr=1e-3``."""
    base, patches = _parted(words)
    start = _Draft()
    start.read(base)
    return [*words[: len(words) - len(patches)], *_laid(start, patches).words]


def _parted(words: Sequence[str] | str) -> tuple[str, list[str]]:
    """What the first word names, and the words to be laid over it."""
    words = split(words) if isinstance(words, str) else list(words)
    laid_over = bool(words) and (words[0].startswith("+") or OVERRIDE.fullmatch(words[0]) is not None)
    named = bool(words) and (not laid_over or os.path.exists(words[0]))  # a folder may have = in its name
    return (words[0] if named else DEFAULT), words[1 if named else 0 :]


def _laid(start: _Draft, patches: Sequence[str]) -> _Draft:
    draft = _Draft(start)
    own_bounds: set[str] = set()
    for word in patches:
        if word.startswith("+"):
            draft.think(word[1:])
        elif match := OVERRIDE.fullmatch(word):
            name = full_name(match[1], draft.values, Experiment)
            word = f"{name}={match[2]}"
            patch = parse_override(name, match[2], draft.values, Experiment)
            own_bounds |= bounds_in(patch)
            draft.lay(patch, keep=own_bounds)
        else:
            raise SpecError(_stray(word))
        draft.words.append(word)
    return draft


def _check_ideas(base: str, start: _Draft, ideas: Sequence[str]) -> None:
    """An idea that another has put out of action is a mistake: without it the experiment is the same. (A
    field=value may well take back what an idea sets: that is how one tunes it.)"""
    if not ideas:
        return
    try:
        whole = _laid(start, ideas).check().effective()
    except SpecError:
        return  # only with the field=value words does it stand
    for i, word in enumerate(ideas):
        others = [*ideas[:i], *ideas[i + 1 :]]
        try:
            same = _laid(start, others).check().effective() == whole
        except SpecError:
            continue  # the others need it
        if same:
            beside = " ".join(others) or base
            raise SpecError(f"{word} changes nothing beside {beside}: what it sets is not used; leave it out")


def split(text: str) -> list[str]:
    """The words of one string, as a shell would split it: quotes keep spaces together. A file or
    folder that exists is one word, spaces or not."""
    try:
        if text and Path(text).exists():
            return [text]
    except OSError:  # too long for a name: it is none
        pass
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split, lexer.escape, lexer.commenters = True, "", ""  # C:\path stays as it is
    try:
        return list(lexer)
    except ValueError as error:
        raise SpecError(f"{text!r} is not a list of words: {str(error).lower()}") from None


def validate(values: Mapping[str, Any]) -> Experiment:
    """The experiment of a nested mapping over the defaults, with the errors of ``resolve``."""
    draft = _Draft()
    draft.lay(nested(_unsigned(values)))
    return draft.check()


def _unsigned(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """An experiment that was printed, without its ``schema``."""
    if values.get("schema") != PRINTED:
        return values
    return {name: value for name, value in values.items() if name != "schema"}


class _Draft:
    """An experiment under construction: every field's value, the file that it comes from, the words that
    were laid over it, and what the relative values of ideas became."""

    def __init__(self, start: _Draft | None = None) -> None:
        self.values: dict[str, Any] = defaults(Experiment) if start is None else start.values
        self.labels: dict[str, str] = {} if start is None else dict(start.labels)
        self.words: list[str] = []  # fields by their full names
        self.became: dict[str, list[relative.Became]] = {}
        self.run: Path | None = None if start is None else start.run

    def lay(self, patch: dict[str, Any], label: str = "", keep: set[str] | None = None) -> None:
        patch = clear_bounds(patch, keep or set())
        self.values = merge(self.values, patch, Experiment)
        for name in leaves(patch):
            value: Any = self.values
            above = ""
            for part in name.split(".")[:-1]:
                value, above = value.get(part), f"{above}.{part}".removeprefix(".")
                if not isinstance(value, Mapping):  # a mistake, still where its file put it
                    break
                self.labels.pop(above, None)  # a value that became a mapping has no label now
            else:
                self.labels[name] = label

    def read(self, word: str) -> None:
        """Lay a recipe, a file or a run over the defaults, its bases first."""
        chain: list[tuple[str, dict[str, Any]]] = []
        seen: list[str] = []
        below: str | None = word
        folder = Path()
        while below is not None:
            label, key, values, folder = _open(below, folder)
            if Path(label).name == RUN_FILE:
                self.run = folder
            if key in seen:
                raise SpecError(f"{label}: base goes round in a circle: {' → '.join([*seen, key])}")
            seen.append(key)
            below = values.pop("base", None)
            if below is not None and not isinstance(below, str):
                raise SpecError(f"{label}: base = {brief(below)} is not the name of a recipe or a file")
            chain.append((label, values))
        for label, values in reversed(chain):
            for about in catalog.ABOUT_RECIPE:
                values.pop(about, None)
            if "task" in values and "objective" not in values:
                values["objective"] = values.pop("task")  # what it was called until version 0.3
            try:
                self.lay(nested(_unsigned(values)), label)
            except SpecError as error:
                raise SpecError(f"{label}: {error}") from None

    def think(self, name: str) -> None:
        """Lay an idea over the experiment; one that does not fit it, or changes nothing, is a mistake."""
        idea, before = catalog.idea(name), self.values
        try:
            relative.check_needs(idea.needs, before)
            patch, became = relative.fit(idea.patch, before, Experiment)
        except SpecError as error:
            raise SpecError(f"+{name} does not fit: {error}{_on(idea)}") from None
        self.became[f"+{name}"] = became
        self.lay(patch, f"idea {name}")
        if self.values == before:
            already = ", ".join(f"{field} = {brief(value)}" for field, value in leaves(patch).items())
            raise SpecError(f"+{name} changes nothing: the experiment already has {already}")

    def check(self) -> Experiment:
        try:
            return Experiment.model_validate(self.values)
        except ValidationError as error:
            sentences = explain(error, self.values, Experiment)
        if self.run is not None and (said := lacking(self.run)):
            raise SpecError(said)
        lines = []
        for name, sentence in sentences.items():
            label = label_of(name, self.labels)
            sentence = sentence + self._elsewhere(name)
            lines.append(f"{label}: {sentence}" if label else sentence)
        raise SpecError("\n".join(lines))

    def _elsewhere(self, field: str) -> str:
        """Where the idea that set a field, or what is in it, does fit, if that is not here."""
        labels = [label for name, label in self.labels.items() if f"{name}.".startswith(f"{field}.")]
        named = {label.removeprefix("idea ") for label in labels if label.startswith("idea ")}
        ideas, here = map(catalog.idea, sorted(named)), set(self.labels.values())
        return "".join(_on(idea) for idea in ideas if f"recipe {idea.on}" not in here)


def _open(word: str, folder: Path) -> tuple[str, str, dict[str, Any], Path]:
    """A name or a path → what errors call it, its identity, its fields, where its base is sought."""
    if word in catalog.names("recipes"):
        return f"recipe {word}", word, catalog.read_recipe(word), Path()
    path = folder / word
    if path.is_dir():
        if not (path / RUN_FILE).is_file():
            raise SpecError(not_a_run(path, RUN_FILE))
        path /= RUN_FILE
    elif not is_file_name(word):
        known = catalog.names("recipes")
        if path.is_file():
            raise SpecError(f"{path} is not a YAML file: its name must end in .yaml")
        hint = did_you_mean(word, known)
        if word in catalog.names("ideas"):
            hint = f"; did you mean the idea +{word}?"
        more = f"{hint} danlu recipes lists them" if hint else "; danlu recipes lists what there is"
        raise SpecError(f"there is no recipe, YAML file or run named {word}{more}")
    try:
        values = read_mapping(path, str(path))
    except FileError as error:
        raise SpecError(str(error)) from None
    if path.name == RUN_FILE and not values:
        raise SpecError(f"{path} is empty, and a run's has its whole experiment; restore it, or name another")
    return str(path), os.path.realpath(path), values, path.parent


def _on(idea: catalog.Idea) -> str:
    """What an idea is tried on, as the sentence about an idea that does not fit goes on; and how, where that
    needs no more words."""
    if not idea.on:
        return ""
    command = f": danlu train {idea.on} +{idea.name}" if _stands(idea) else ""
    return f"; by default +{idea.name} is tried on {idea.on}{command}"


def _stands(idea: catalog.Idea) -> bool:
    """Whether the idea alone, over what it is tried on, is an experiment."""
    draft = _Draft()
    try:
        draft.read(idea.on)
        relative.check_needs(idea.needs, draft.values)
        draft.lay(relative.fit(idea.patch, draft.values, Experiment)[0])
        Experiment.model_validate(draft.values)
    except (SpecError, ValidationError):
        return False
    return True


def _stray(word: str) -> str:
    sentence = f"{word!r} is neither +idea nor field=value"
    if word in catalog.names("ideas"):
        return f"{sentence}; did you mean +{word}?"
    if word in catalog.names("recipes"):
        return f"{sentence}: a recipe comes first, and only one"
    return f"{sentence}{did_you_mean(word, catalog.names('ideas'), '+')}"
