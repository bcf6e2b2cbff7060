"""What the trainer must not know: where examples come from, what they cost, how a model is scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
import torch.nn as nn
from numpy.typing import NDArray

from danlu.spec.metrics import Metric

Example = dict[str, NDArray[Any]]
Tensors = Mapping[str, torch.Tensor]


class Draw(NamedTuple):
    """Which training examples: rows ``start`` to ``stop`` of update ``step`` (from 0), which begins with
    sample ``first`` of the run. The same draw gives the same examples, and a part of it the same part."""

    seed: int
    step: int
    first: int
    start: int
    stop: int


class Losses(NamedTuple):
    """Scalars, each a sum over the terms of the loss: ``total``, which is reported, and ``penalty``, which
    training minimises with it (None: nothing)."""

    total: torch.Tensor
    penalty: torch.Tensor | None = None

    @property
    def minimised(self) -> torch.Tensor:
        """What training takes the gradient of."""
        return self.total if self.penalty is None else self.total + self.penalty


@dataclass(frozen=True)
class HeldOut:
    """Held-out examples: ``count`` of them; ``example(places, rows)`` makes those at ``places`` an example of
    ``rows`` rows (None: of as many). Rows beyond the places count for nothing in ``Objective.score``. What is
    random in a held-out example depends on its place alone."""

    count: int
    example: Callable[[Sequence[int], int | None], Example]


@dataclass(frozen=True)
class Sample:
    """What a trained model shows. ``kind``: ``text``, ``picture`` or ``points``; ``text``: as a terminal
    shows it; ``data``: the same as JSON takes it; as a file does, by what they are: ``pictures``, rows of
    images [n, channels, height, width] from 0 to 1, and ``points`` [n, numbers], the first of them those that
    the others should be like."""

    kind: Literal["text", "picture", "points"]
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    points: Mapping[str, NDArray[Any]] = field(default_factory=dict)


class Objective:
    """What a network learns, from what, and what counts.

    ``danlu.objectives.build(spec, source)`` makes one of a specification and of what ``danlu.data.prepare``
    gives. A subclass sets, and a user's own class may leave out what has a default here:

    - ``metrics``: what ``measure`` returns; the first decides. Of danlu's own the specification says it.
    - ``unit``, ``size``: what runs are counted in, and how many of them an example is (text: tokens).
    - ``count``: the terms of the loss in one example, the same for every example; ``term``: what a term is
      called; ``loss_unit``: what its loss is in, ``nats`` or nothing.
    - ``output``: what the model gives: ``logits``, or the ``numbers`` that are predicted.
    - ``inputs``: what ``danlu.models.build`` takes after the specification (text: vocabulary, length).
    - ``lengths``: what the model's ``flops`` takes after the number of examples.
    - ``group``: None where the loss is a sum over examples. Where a term spans several (a contrastive loss),
      so many consecutive rows, or ``"batch"``: then passes are made of whole groups, or refused.
    - ``record``: what the data was made from, in JSON.
    - ``stackable``: whether ``loss`` and ``score`` of a network of several members (``danlu.nn.stacked``), by
      its attribute ``members``, give a number for each, (members,), where they are scalars of one network.
    - ``pictured``: whether what ``sample`` shows, made in every process, is drawn after each evaluation.
    - ``along``: of an example, the arrays [rows, positions] of which a process that has a stretch of the
      positions needs that stretch alone, where every term of the loss belongs to one position; empty: the
      loss is not of this kind.
    """

    stackable: ClassVar[bool] = False
    pictured: ClassVar[bool] = False
    metrics: ClassVar[tuple[Metric, ...]] = ()
    unit: str = "example"
    term: str = "example"
    loss_unit: str = "nats"
    output: Literal["logits", "numbers"] = "logits"
    size: int = 1
    count: int = 1
    inputs: tuple[Any, ...] = ()
    lengths: tuple[int, ...] = ()
    group: int | Literal["batch"] | None = None
    record: Mapping[str, Any] = {"splits": {}}
    along: tuple[str, ...] = ()

    def example(self, draw: Draw) -> Example:
        """Training examples: arrays [rows, …] by name."""
        raise NotImplementedError

    def held_out(self, limit: int | None = None) -> HeldOut:
        """The held-out examples, ``limit`` units of them at most. Raises ``DataError`` if there is none."""
        raise NotImplementedError

    def loss(self, model: nn.Module, example: Tensors) -> Losses:
        """What the example, as tensors, costs ``model``."""
        raise NotImplementedError

    def inputs_of(self, example: Tensors) -> tuple[torch.Tensor, dict[str, Any]]:
        """What ``loss`` gives the model of an example, once: the first argument, and those by name. Only
        needed where the model lies in several processes (``train.mesh.pipeline``)."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it gives a model (def inputs_of)")

    def score(self, model: nn.Module, example: Tensors) -> dict[str, torch.Tensor]:
        """Sums over a held-out example, scalars by name, that ``measure`` makes metrics of."""
        raise NotImplementedError

    def measure(self, sums: Mapping[str, float]) -> dict[str, float]:
        """The metrics, by name, of sums over all held-out examples."""
        raise NotImplementedError

    def judge(self, model: nn.Module) -> dict[str, float]:
        """Metrics that are no sums over held-out examples, such as a distance of samples: by name. Every
        process computes them, to the same numbers."""
        return {}

    def sample(self, model: nn.Module) -> Sample | None:
        """What the model, in evaluation mode, shows; None: nothing. What it is given goes to its device."""
        return None

    def flops(self, model: nn.Module, examples: int = 1) -> int:
        """FLOPs of the matrix products of a forward pass over so many examples."""
        return int(model.flops(examples, *self.lengths))  # type: ignore[operator]

    def attach(self, model: nn.Module, seed: int) -> None:
        """Add to a model that is just made what it learns by and does not keep; random numbers by ``seed``.
        Most objectives add nothing."""

    def begin(self, model: nn.Module) -> None:
        """Copy into the initial weights of ``model``, before its rules are made, what they should begin with;
        most objectives copy nothing."""

    def beside(self, model: nn.Module) -> float:
        """FLOPs of an example in training beside those of the network's own update, such as a teacher's."""
        return 0

    def about(self) -> str:
        """What there is to learn from, as a run announces it: "1,438 training images of digits"."""
        return f"{self.unit}s"


def beside(model: nn.Module, array: NDArray[Any]) -> torch.Tensor:
    """The array as a tensor on the device of the model's weights."""
    weight = next(model.parameters(), None)
    tensor = torch.from_numpy(array)
    return tensor if weight is None else tensor.to(weight.device)


def unwrapped(model: nn.Module) -> Any:
    """The network itself, where one of several processes runs it in a wrapper."""
    return getattr(model, "module", model)


def padded(example: Example, rows: int) -> Example:
    """The example with ``rows`` rows: the first stands in for those that are lacking, and who scores it makes
    them count for nothing."""
    more = rows - len(next(iter(example.values())))
    if not more:
        return example
    return {name: np.concatenate([part, np.repeat(part[:1], more, 0)]) for name, part in example.items()}


def check_passes(objective: Objective, batch: int, rows: int) -> None:
    """Raises ``ValueError`` where passes of ``rows`` of the ``batch`` examples of an update would cut through
    what a term of the loss spans."""
    group = batch if objective.group == "batch" else objective.group
    if group is not None and rows % group:
        what = "the whole batch" if objective.group == "batch" else f"{group} examples"
        raise ValueError(
            f"a term of the loss spans {what}, and an update of {batch} examples is made in passes "
            f"of {rows}; leave train.microbatch out, or make it a multiple of {group}"
        )
