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
from danlu.data.errors import DataError
from danlu.nn import builds
from danlu.objectives.base import Draw, Example, HeldOut, Losses, Objective, Sample, Tensors, beside, padded
from danlu.objectives.pictures import scattered, shaded

_SCORED = 0x66697473  # "fits": which points are scored where not all are
_ROWS = 4096  # coordinates in one pass


@builds(spec.Fit)
class Fit(Objective):
    """The squared error of the values at coordinates, of their gradients or of their Laplacians, summed over
    the numbers of each point.

    PSNR is 20 log₁₀(greatest − least) − 10 log₁₀(mean squared error), in decibels, of values that are kept
    within the range of the signal first. Gradients know the values up to a constant: with them a constant is
    added to each output that makes the error least, over the seen points and over the others apart, and
    nothing is cut off. Laplacians know them up to a harmonic function, and an affine one is added.

    Where values are told, PSNR has the standard error of the delta method (``danlu.distances.psnr``), which
    takes points as independent: neighbours are not, so that it is rather too small.
    """

    term, loss_unit, output, pictured = "number", "", "numbers", True

    def __init__(self, source: Signal, *, supervise: Literal["values", "gradients", "laplacians"]) -> None:
        self.source, self.record = source, source.record
        self.unit = source.spec.unit
        self.told = supervise
        self.inputs = source.spec.inputs, source.spec.outputs
        self.count = source.spec.outputs * (source.spec.inputs if supervise == "gradients" else 1)
        if not np.isfinite(getattr(source.seen, supervise)).all():
            raise DataError(
                f"objective.supervise = {supervise}: {source.spec.name} has too few seen points for second "
                "differences; set data.pixels = 5 or more"
            )

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
        made = {"coordinates": part.coordinates, self.told: getattr(part, self.told)}
        return made | ({"values": part.values} if values else {})

    def _answers(self, model: nn.Module, coordinates: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The values, and what of them the network is told."""
        if self.told == "values":
            values = model(coordinates)
            return values, values
        return (with_gradients if self.told == "gradients" else with_laplacians)(model, coordinates)

    def loss(self, model: nn.Module, example: Tensors) -> Losses:
        values, answers = self._answers(model, example["coordinates"])
        total = (answers - example[self.told]).square().sum()
        # The last bias moves no derivative: it gets a gradient of 0, since several processes wait for all.
        return Losses(total if self.told == "values" else total + 0 * values.sum())

    def score(self, model: nn.Module, example: Tensors) -> dict[str, torch.Tensor]:
        """Of each side: points, sums of the squares of the errors by output, and of what a free part of the
        values is fitted with, in float64."""
        values, answers = self._answers(model, example["coordinates"])
        squares = (answers - example[self.told]).square().flatten(1).sum(1)
        if self.told == "values":
            values = values.clamp(*self.source.spec.range)
        errors = (values - example["values"]).double()
        found = {"squares": (squares.double() * example["unseen"]).sum()}
        free = self._free(example["coordinates"].double())
        for side in ("seen", "unseen"):
            weight = example[side].double()
            found[f"{side}/points"] = weight.sum()
            found[f"{side}/fourth"] = (errors.square().mean(1).square() * weight).sum()
            for output, error in enumerate(errors.unbind(1)):
                found[f"{side}/squares/{output}"] = (error.square() * weight).sum()
                for i, one in enumerate(free):
                    found[f"{side}/error/{output}/{i}"] = (error * one * weight).sum()
            for i, one in enumerate(free):
                for j, other in enumerate(free):
                    found[f"{side}/free/{i}/{j}"] = (one * other * weight).sum()
        return found

    def _free(self, coordinates: torch.Tensor) -> list[torch.Tensor]:
        """The functions that what is told does not see: none, 1, or 1 and each coordinate."""
        one = torch.ones_like(coordinates[:, 0])
        return {"values": [], "gradients": [one], "laplacians": [one, *coordinates.unbind(1)]}[self.told]

    def measure(self, sums: Mapping[str, float]) -> dict[str, float]:
        found = {
            "psnr": self._decibels("unseen", sums),
            "seen_psnr": self._decibels("seen", sums),
            "held_out_loss": sums["squares"] / (sums["unseen/points"] * self.count),
        }
        if self.told == "values":
            found |= {"psnr_error": self._error("unseen", sums), "seen_psnr_error": self._error("seen", sums)}
        return found

    def _error(self, side: str, sums: Mapping[str, float]) -> float:
        """The standard error of the decibels, of points that are drawn afresh."""
        points, outputs = sums[f"{side}/points"], range(self.source.spec.outputs)
        mean = sum(sums[f"{side}/squares/{output}"] for output in outputs) / (points * len(outputs))
        if mean == 0 or points < 2:
            return 0.0 if mean == 0 else math.nan
        variance = max(sums[f"{side}/fourth"] / points - mean**2, 0.0) / (points - 1)
        return 10 / math.log(10) * math.sqrt(variance) / mean

    def _decibels(self, side: str, sums: Mapping[str, float]) -> float:
        points, outputs = sums[f"{side}/points"], range(self.source.spec.outputs)
        free = range({"values": 0, "gradients": 1, "laplacians": 1 + self.source.spec.inputs}[self.told])
        gram = np.array([[sums[f"{side}/free/{i}/{j}"] for j in free] for i in free]) / points
        mean = []
        for output in outputs:
            moments = np.array([sums[f"{side}/error/{output}/{i}"] for i in free]) / points
            explained = moments @ np.linalg.lstsq(gram, moments)[0] if len(moments) else 0.0
            mean.append(sums[f"{side}/squares/{output}"] / points - explained)
        low, high = self.source.spec.range
        error = max(sum(mean) / len(mean), np.finfo(float).tiny)  # a perfect fit has no end of decibels
        return 20 * math.log10(high - low) - 10 * math.log10(error)

    @torch.no_grad()
    def values(self, model: nn.Module) -> NDArray[np.float32]:
        """What the model makes of the whole grid, [*shape, outputs], with what is free in it fitted to the
        values of the points that training sees."""
        grid = beside(model, self.source.whole.coordinates)
        made = torch.cat([model(part) for part in grid.split(_ROWS)]).float().cpu()
        if free := self._free(grid.cpu().double()):
            functions, even = torch.stack(free, 1), torch.from_numpy(self.source.even)
            errors = (torch.from_numpy(self.source.whole.values) - made).double()
            made += (functions @ torch.linalg.lstsq(functions[even], errors[even]).solution).float()
        return made.numpy().reshape(*self.source.shape, -1)

    def sample(self, model: nn.Module) -> Sample | None:
        """The whole signal as the model has it: a picture, or of a sound its curve."""
        values = self.values(model)
        if values.ndim == 2:
            curve = np.stack([self.source.whole.coordinates[:, 0], values[:, 0]], 1)
            signal = np.stack([curve[:, 0], self.source.whole.values[:, 0]], 1)
            points = {"the signal": signal, "as the network has it": curve}
            return Sample("points", scattered(curve), {"points": curve.tolist()}, points=points)
        low, high = self.source.spec.range
        image = values.transpose(2, 0, 1)[None]  # as images are: channels, height, width
        scaled = (image - low) / (high - low)
        return Sample("picture", shaded(scaled), {"images": image.tolist()}, {"values": scaled})

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
        return values, torch.stack([_slope(value, coordinates, further) for value in values.unbind(1)], 1)


def with_laplacians(model: nn.Module, coordinates: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and their Laplacians, Σᵢ ∂²/∂xᵢ², (n, outputs) both, as ``with_gradients``; 0 where the network
    is made of planes, as one of ReLUs is."""
    further = torch.is_grad_enabled()
    with torch.enable_grad():
        coordinates = coordinates.detach().requires_grad_()
        values = model(coordinates)
        laplacians = []
        for value in values.unbind(1):
            slopes = _slope(value, coordinates, True).unbind(1)
            seconds = [_slope(slope, coordinates, further)[:, i] for i, slope in enumerate(slopes)]
            laplacians.append(torch.stack(seconds).sum(0))
        return values, torch.stack(laplacians, 1)


def _slope(value: torch.Tensor, coordinates: torch.Tensor, further: bool) -> torch.Tensor:
    """The gradient of each row's value by the row's coordinates, (n, inputs)."""
    if not value.requires_grad:  # it is a constant
        return torch.zeros_like(coordinates)
    (found,) = torch.autograd.grad(
        value.sum(), coordinates, retain_graph=True, create_graph=further, materialize_grads=True
    )
    return found
