"""Signals as functions of coordinates: the network is the picture, the sound, the shape."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn as nn
from numpy.typing import NDArray

from danlu import spec
from danlu.data.coordinates import Part, Signal
from danlu.nn import builds
from danlu.objectives.base import Draw, Example, HeldOut, Losses, Objective, Sample, Tensors, beside, padded
from danlu.objectives.pictures import scattered, shaded

_SCORED = 0x66697473  # "fits": which points are scored where not all are
_ROWS = 4096  # coordinates in one pass


@builds(spec.Fit)
class Fit(Objective):
    """The squared error of the values at coordinates, or of their gradients, summed over the numbers of each
    point.

    PSNR is 20 log₁₀(greatest − least) − 10 log₁₀(mean squared error), in decibels, of values that are kept
    within the range of the signal first. Gradients know the values up to a constant: with them a constant is
    added to each output that makes the error least, over the seen points and over the others apart, and
    nothing is cut off.
    """

    term, loss_unit = "number", ""

    def __init__(self, source: Signal, *, supervise: Literal["values", "gradients"]) -> None:
        self.source, self.record = source, source.record
        self.unit = source.spec.unit
        self.of_gradients = supervise == "gradients"
        self.inputs = source.spec.inputs, source.spec.outputs
        self.count = source.spec.outputs * (source.spec.inputs if self.of_gradients else 1)

    def example(self, draw: Draw) -> Example:
        return self._made(self.source.rows(*draw))

    def held_out(self, limit: int | None = None) -> HeldOut:
        """The points that training does not see, and then those that it sees, ``limit`` of each at most."""
        even = self.source.even
        sides = [np.flatnonzero(side) for side in (~even, even)]
        if limit is not None:
            random = np.random.default_rng(_SCORED)
            sides = [np.sort(random.permutation(side)[:limit]) for side in sides]
        points = np.concatenate(sides)

        def example(places: Sequence[int], rows: int | None = None) -> Example:
            mine = points[list(places) or [0]]
            made = self._made(Part(*(array[mine] for array in self.source.whole)), values=True)
            made |= {"seen": even[mine].astype(np.float32), "unseen": (~even[mine]).astype(np.float32)}
            made = padded(made, len(mine) if rows is None else rows)
            for side in ("seen", "unseen"):
                made[side][len(places) :] = 0.0
            return made

        return HeldOut(len(points), example)

    def _made(self, part: Part, values: bool = False) -> Example:
        made = {"coordinates": part.coordinates}
        if values or not self.of_gradients:
            made["values"] = part.values
        return made | ({"gradients": part.gradients} if self.of_gradients else {})

    def loss(self, model: nn.Module, example: Tensors) -> Losses:
        if self.of_gradients:
            values, gradients = with_gradients(model, example["coordinates"])
            # The last bias moves no gradient: it gets one of 0, since several processes wait for all.
            return Losses((gradients - example["gradients"]).square().sum() + 0 * values.sum())
        return Losses((model(example["coordinates"]) - example["values"]).square().sum())

    def score(self, model: nn.Module, example: Tensors) -> dict[str, torch.Tensor]:
        """Of each side: points, sums of the errors and of their squares by output, in float64."""
        if self.of_gradients:
            values, gradients = with_gradients(model, example["coordinates"])
            squares = (gradients - example["gradients"]).square().flatten(1).sum(1)
        else:
            values = model(example["coordinates"])
            squares = (values - example["values"]).square().sum(1)
            values = values.clamp(*self.source.spec.range)
        errors = (values - example["values"]).double()
        found = {"squares": (squares.double() * example["unseen"]).sum()}
        for side in ("seen", "unseen"):
            weight = example[side].double()
            found[f"{side}/points"] = weight.sum()
            for output, error in enumerate(errors.unbind(1)):
                found[f"{side}/sum/{output}"] = (error * weight).sum()
                found[f"{side}/squares/{output}"] = (error.square() * weight).sum()
        return found

    def measure(self, sums: Mapping[str, float]) -> dict[str, float]:
        return {
            "psnr": self._decibels("unseen", sums),
            "seen_psnr": self._decibels("seen", sums),
            "held_out_loss": sums["squares"] / (sums["unseen/points"] * self.count),
        }

    def _decibels(self, side: str, sums: Mapping[str, float]) -> float:
        points, outputs = sums[f"{side}/points"], range(self.source.spec.outputs)
        mean = [sums[f"{side}/squares/{output}"] / points for output in outputs]
        if self.of_gradients:
            mean = [m - (sums[f"{side}/sum/{o}"] / points) ** 2 for m, o in zip(mean, outputs, strict=True)]
        low, high = self.source.spec.range
        error = max(sum(mean) / len(mean), np.finfo(float).tiny)  # a perfect fit has no end of decibels
        return 20 * math.log10(high - low) - 10 * math.log10(error)

    @torch.no_grad()
    def values(self, model: nn.Module) -> NDArray[np.float32]:
        """What the model makes of the whole grid: [*shape, outputs]."""
        grid = beside(model, self.source.whole.coordinates)
        made = torch.cat([model(part) for part in grid.split(_ROWS)]).float().cpu().numpy()
        return made.reshape(*self.source.shape, -1)

    def sample(self, model: nn.Module) -> Sample | None:
        """The whole signal as the model has it: a picture, or of a sound its curve."""
        values = self.values(model)
        if values.ndim == 2:
            curve = np.stack([self.source.whole.coordinates[:, 0], values[:, 0]], 1)
            return Sample("points", scattered(curve), {"points": curve.tolist()})
        low, high = self.source.spec.range
        image = values.transpose(2, 0, 1)[None]  # as images are: channels, height, width
        return Sample("picture", shaded((image - low) / (high - low)), {"images": image.tolist()})

    def about(self) -> str:
        seen = int(self.source.even.sum())
        return f"{seen:,} of {self.source.even.size:,} points of {self.source.spec.name}"


def with_gradients(model: nn.Module, coordinates: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Values (n, outputs) and their gradients (n, outputs, inputs), which can be differentiated further where
    gradients are enabled. ``model`` maps each row by itself."""
    further = torch.is_grad_enabled()
    with torch.enable_grad():
        coordinates = coordinates.detach().requires_grad_()
        values = model(coordinates)
        gradients = [
            torch.autograd.grad(output.sum(), coordinates, retain_graph=True, create_graph=further)[0]
            for output in values.unbind(1)
        ]
    return values, torch.stack(gradients, 1)
