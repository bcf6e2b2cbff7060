"""An experiment from words and keywords."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from danlu.spec import Experiment
from danlu.spec.errors import SpecError
from danlu.spec.overrides import OVERRIDE
from danlu.spec.shrink import shrink as shrunk
from danlu.spec.shrink import size_of
from danlu.spec.words import DEFAULT, resolve, split

Word = str | os.PathLike[str]


def experiment(*words: Word | Experiment, shrink: str | int | None = None, **settings: Any) -> Experiment:
    """The experiment that the words mean, as after ``danlu train``, with these fields.

    ``words``: a recipe, a YAML file, a run's folder or an ``Experiment`` (left out: ``tiny``), then
    ``+idea`` and ``field=value``; one string may hold several. ``shrink``: what the first one names is made
    so small first, ``"1M"`` parameters. ``settings``: fields, named as in words: ``lr`` for
    ``optimizer.lr``, ``norm`` for ``model.norm``. A value is a number, a text as it is typed in a word
    (``"64k"``), a mapping, a list, None or a specification. Raises ``SpecError``, a sentence for each
    problem.

    >>> import danlu
    >>> e = danlu.experiment("nano +swiglu", lr=1e-3, seed=1, **{"model.layers": 6})
    >>> e.optimizer.lr, e.train.seed, e.model.layers, e.model.feed_forward.kind
    (0.001, 1, 6, 'glu')
    >>> danlu.experiment(e, norm=danlu.spec.LayerNorm(eps=1e-6)).model.norm.eps
    1e-06
    >>> danlu.experiment("nano", eps=1e-6)
    Traceback (most recent call last):
        ...
    danlu.spec.errors.SpecError: eps may be model.norm.eps or optimizer.eps; write the full name
    """
    for word in words:
        if not isinstance(word, str | os.PathLike | Experiment):
            raise SpecError(
                f"{word!r} is not a word of an experiment; give a recipe, a file or a run, +idea, field=value"
            )
    start = words[0] if words and isinstance(words[0], Experiment) else None
    typed = split_words(words) if start is None else [DEFAULT, *split_words(words[1:])]
    size = None if shrink is None else size_of(str(shrink))

    def change(found: Experiment) -> Experiment:
        found = found if start is None else start
        return found if size is None else shrunk(found, size)

    typed += to_words(settings)
    return resolve(typed, None if start is None and size is None else change)


def split_words(words: Sequence[Word | Experiment]) -> list[str]:
    """One string may hold several words, quoted as in a shell; among others a field=value is one."""
    found = []
    for word in words:
        if isinstance(word, Experiment):
            raise SpecError("an Experiment must come first, and words such as '+swiglu' after it")
        whole = not isinstance(word, str) or (len(words) > 1 and OVERRIDE.fullmatch(word))
        found += [written(word)] if whole else split(written(word))
    return found


def written(word: Any) -> str:
    """A word or a path as text. Raises ``SpecError`` for what is neither."""
    if not isinstance(word, str | os.PathLike):
        raise SpecError(f"{word!r} is no text and no path; write it as after danlu train, such as 'qk-norm'")
    return os.fspath(word)


def to_words(settings: Mapping[str, Any]) -> list[str]:
    """Keywords as words, ``field=value``."""
    return [f"{name}={to_text(value)}" for name, value in settings.items()]


def to_text(value: Any) -> str:
    """A value as it is typed after ``field=``."""
    if value is None:
        return "none"
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    try:
        return json.dumps(_plain(value), ensure_ascii=False, default=_plain)
    except (TypeError, ValueError):
        allowed = "a number, a text, a list, a mapping or a specification"
        raise SpecError(f"{value!r} is not a value of a field; give {allowed}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if hasattr(value, "item") else value  # numpy's and PyTorch's numbers
