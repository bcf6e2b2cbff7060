"""Models of a recipe's shape at other sizes: what they have and what they cost, exactly.

What stays: the kinds of parts, the size of a head, width over layers, feed-forward over width, queries over
keys. What changes: layers, width, and with it the number of heads, so that rungs differ in nothing else.
(``danlu.spec.shrink``, which brings a recipe from thousands of times the size, also has smaller heads, a
shorter context and another rate.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from danlu.lab.errors import LabError
from danlu.spec.experiment import Experiment
from danlu.spec.models import Network
from danlu.spec.sizes import COARSE, at_size, coarse, divisor
from danlu.spec.words import validate

INNER = ("hidden", "latent", "query_latent", "state")  # sizes of parts that follow the width
MOST_LAYERS = 1024
ASPECT = 1.5  # by what width over layers may differ from the recipe's, since widths are whole heads, …
SHARE = 0.2  # … and how much that counts beside the distance from the size wanted
WIDTHS = 5  # tried for a number of layers

Counted = Callable[[Experiment], tuple[int, int]]


@dataclass(frozen=True)
class Sized:
    """A model of the recipe's shape. ``flops``: of training, for each token of text, counted by its parts as
    a run counts them."""

    layers: int
    width: int
    parameters: int
    flops: int
    experiment: Experiment

    @property
    def flops_per_update(self) -> float:
        """Of an update with the whole batch."""
        return float(self.flops * self.experiment.train.batch * self.experiment.data.size)


class Shapes:
    """The shapes of ``experiment``, made when they are asked for; of one on text with a tokenizer of
    ``vocabulary`` ids. ``counted``: from an experiment to its parameters and the FLOPs of a forward pass over
    one context, where they are not to be taken from the network itself, which needs PyTorch."""

    def __init__(
        self, experiment: Experiment, vocabulary: int | None = None, *, counted: Counted | None = None
    ) -> None:
        self.experiment, self.vocabulary, self.counted = experiment, vocabulary, counted
        model = experiment.network
        self.unit = _unit(model)
        turn = len(model.turn())
        self.turn = turn if model.layers % turn == 0 else 1
        # Every turn of the pattern has and costs the same, so that two depths tell all of them.
        self.alike = self.turn == turn and getattr(model, "encoder_layers", None) is None
        self.at, self.counts = cache(self._at), cache(self._counts)
        self.recipe = self.at(model.layers, model.width)

    def _at(self, layers: int, width: int) -> Sized:
        experiment = self._experiment(layers, width)
        turns = layers // self.turn
        if turns > 2 and layers % self.turn == 0 and self.alike:
            (n, f), (n_two, f_two) = (self.counts(k * self.turn, width) for k in (1, 2))
            parameters, flops = n + (turns - 1) * (n_two - n), f + (turns - 1) * (f_two - f)
        else:
            parameters, flops = self.counts(layers, width)
        return Sized(layers, width, parameters, 3 * flops // experiment.data.size, experiment)

    def _experiment(self, layers: int, width: int) -> Experiment:
        model = resized(self.experiment.network, layers, width)
        return validate(self.experiment.model_copy(update={"model": model}).model_dump())

    def _counts(self, layers: int, width: int) -> tuple[int, int]:
        """Parameters, and FLOPs of a forward pass over one context, of a model that takes no memory."""
        experiment = self._experiment(layers, width)
        if self.counted is not None:
            return self.counted(experiment)
        from danlu.train.assemble import outline, outlined

        objective, built, *_ = outline(experiment, outlined(experiment, self.vocabulary))
        return sum(p.numel() for p in built.parameters()), int(built.flops(1, *objective.lengths))

    def smallest(self) -> Sized:
        """The least that keeps the shape."""
        return self._widths(1)[0]

    def nearest(self, of: Callable[[Sized], float], wanted: float) -> Sized:
        """The shape of which ``of``, which grows with the size, is nearest to ``wanted``, as ratios go.
        Raises LabError where it would have more than 1,024 layers."""
        low, high = 1, 2
        while of(self._widths(high)[0]) < wanted:
            low, high = high, 2 * high
            if high * self.turn > MOST_LAYERS:
                raise LabError(
                    f"a model of this shape so large would have more than {MOST_LAYERS} layers; "
                    "begin with a wider recipe"
                )
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if of(self._widths(middle)[0]) < wanted else (low, middle)
        near: Iterable[Sized] = (s for k in (low - 1, low, high) if k > 0 for s in self._widths(k))
        aspect = self.recipe.width / self.recipe.layers

        def off(sized: Sized) -> float:
            squat = abs(math.log(sized.width / sized.layers / aspect))
            return abs(math.log(of(sized) / wanted)) + SHARE * squat

        return min(near, key=off)

    def of_size(self, parameters: float) -> Sized:
        """The shape with about so many parameters."""
        return self.nearest(lambda sized: sized.parameters, parameters)

    def _widths(self, turns: int) -> list[Sized]:
        """The shapes of ``turns`` turns of the pattern, about the recipe's width over layers, narrowest
        first."""
        layers = turns * self.turn
        model = self.experiment.network
        units = layers * model.width / model.layers / self.unit
        first = max(1, math.ceil(units / ASPECT))
        last = max(first, math.floor(units * ASPECT))
        near = sorted(range(first, last + 1), key=lambda n: abs(math.log(n / units)))[:WIDTHS]
        return [self.at(layers, n * self.unit) for n in sorted(near)]


def resized(model: Network, layers: int, width: int) -> Any:
    """``model`` with so many layers of this width, and what follows from it."""
    factor = width / model.width
    if factor == 1 and layers == model.layers:
        return model

    def part(one: Any) -> Any:
        changed: dict[str, Any] = {}
        if (heads := getattr(one, "heads", None)) is not None:
            changed["heads"] = max(1, round(heads * factor))
            if (kv_heads := getattr(one, "kv_heads", None)) is not None:
                changed["kv_heads"] = divisor(changed["heads"], changed["heads"] * kv_heads / heads)
        for name in INNER:
            if (size := getattr(one, name, None)) is not None:
                changed[name] = coarse(size * factor)
        return one.model_copy(update=changed)

    return at_size(model, layers, width, {"mixer": part, "feed_forward": part})


def _unit(model: Network) -> int:
    """The step between widths: a head, where a head's size is a share of the width."""
    mixers = [parts.mixer for parts in model.turn()]
    sizes = [
        model.width // heads
        for mixer in mixers
        if (heads := getattr(mixer, "heads", None)) is not None and getattr(mixer, "head_size", None) is None
    ]
    return math.lcm(*sizes) if sizes else COARSE
