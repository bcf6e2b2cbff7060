"""Own measures: a number of a run, read off its files (``record``) or taken of what it ``trained``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal

from danlu.spec.base import Spec
from danlu.spec.errors import SpecError
from danlu.spec.families import Family, Own


class OwnMeasure(Spec):
    """What the specifications of own measures are made on."""

    unit: ClassVar[str] = ""
    better: ClassVar[Literal["lower", "higher"]] = "lower"


MEASURE = Family("measure", base=OwnMeasure, functions=True)


def reads(makes: Callable[..., Any]) -> bool:
    """Whether a measure is read off a run's files, told by the name of its input. Raises ``SpecError`` where
    that is neither ``record`` nor ``trained``."""
    called = makes.__call__ if inspect.isclass(makes) else makes
    names = [name for name in inspect.signature(called).parameters if name != "self"]
    if not names or names[0] not in ("record", "trained"):
        raise SpecError(
            f"{makes.__qualname__}: the input of a measure is called record (a run's files, "
            "danlu.lab.measures.record.Record) or trained (its weights, danlu.lab.measures.trained.Trained)"
        )
    return names[0] == "record"


def measure_of(name: str) -> Own | None:
    """The own measure that a name begins with (``late-loss:0.2``)."""
    return MEASURE.own.get(name.partition(":")[0])


def key(name: str) -> str:
    """What a value of the measure ``name`` is kept under: of an own one with the digest of its code."""
    own = measure_of(name)
    return name if own is None else f"{name} by {own.origin.digest}"


def used(names: Iterable[str]) -> list[Own]:
    """The own measures among ``names``."""
    return [own for name in names if (own := measure_of(name)) is not None]
