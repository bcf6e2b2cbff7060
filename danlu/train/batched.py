"""Whether networks of one graph can be trained as one (``danlu.nn.stacked``), and are faster so.

Importing this module does not import torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain

from danlu import spec
from danlu.spec.base import Spec

# Measured (bench/populations.py): times as fast as one by one, on a core of an AMD EPYC, by the numbers that
# an activation of the stream has. 16 thousand, in groups of 2, 4 and 8: 1.4, 1.9, 2.2; 33 thousand: 1.3, 1.6,
# 1.7; 66 thousand: 1.1, 1.25, 1.3.
NUMBERS = 2**16


def pays(experiment: spec.Experiment, rows: int) -> bool:
    """Whether networks are trained faster as one than one by one, on a CPU, with ``rows`` rows of each in a
    pass."""
    width = getattr(experiment.model, "width", math.inf)
    return rows * experiment.data.size * width <= NUMBERS


def unbatched(experiment: spec.Experiment) -> str | None:
    """What of an experiment has no batched form; None where its network can be trained with others as one."""
    return next(_unbatched(experiment), None)


def _unbatched(experiment: spec.Experiment) -> Iterator[str]:
    train = experiment.train
    parts = chain(_parts("objective", experiment.objective), _parts("model", experiment.model))
    for name, part in parts:
        if not part.stackable:
            kind = getattr(part, "kind", None)
            yield f"{name}{f'.kind = {kind}' if kind else ''} has no batched form"
    if dropout := getattr(experiment.model, "dropout", 0):
        yield f"model.dropout = {dropout} draws numbers that would not be those of a run alone"
    alone = {
        "precision": train.precision == "float16",
        "weights": train.weights != "float32",
        "compile": train.compile is True,
        "products": train.products == "float8",
        "quantize": train.quantize is not None,
        "precise_bn": train.precise_bn is not None,
        "noise_every": train.noise_every is not None,
    }
    for name, refused in alone.items():
        if refused:
            yield f"train.{name} = {getattr(train, name)} is for a network alone"


def _parts(name: str, part: Spec) -> Iterator[tuple[str, Spec]]:
    """``part`` and the specifications in it, by their names."""
    yield name, part
    for field in type(part).model_fields:
        value = getattr(part, field)
        for i, inner in enumerate(value if isinstance(value, tuple) else (value,)):
            if isinstance(inner, Spec):
                yield from _parts(f"{name}.{field}{f'.{i}' if isinstance(value, tuple) else ''}", inner)
