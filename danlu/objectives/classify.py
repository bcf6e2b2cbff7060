"""Classes of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F

from danlu import spec
from danlu.data import Finite
from danlu.nn import auxiliary, builds
from danlu.objectives.base import Draw, Example, HeldOut, Losses, Objective, Sample, Tensors, beside
from danlu.objectives.language import IGNORED, filled
from danlu.objectives.numbers import check_classes, told
from danlu.objectives.pictures import shaded

_SHOWN = 4


@builds(spec.Classify)
class Classify(Objective):
    """The class of every image, by the cross-entropy of the model's outputs (rows, classes). A point of d
    numbers is an image of one pixel with d channels.

    ``smoothing`` s: the target is 1 − s on the right class and s/classes on all (Szegedy et al. 2016, section
    7). What that adds is a penalty: losses and held-out metrics are without it.
    """

    def __init__(self, source: Finite, *, smoothing: float = 0.0) -> None:
        self.source, self.smoothing = source, smoothing
        self.unit = self.term = source.spec.unit
        check_classes(source, "objective.kind = classify")
        shape = tuple(source.shape)
        self.shape = shape if len(shape) == 3 else (*shape, 1, 1)
        self.inputs = self.shape, source.classes
        self.record = source.record

    def example(self, draw: Draw) -> Example:
        images, classes = self.source.rows(*draw)
        return {"images": images.reshape(-1, *self.shape), "targets": classes}

    def held_out(self, limit: int | None = None) -> HeldOut:
        images, classes = (part[:limit] for part in self.source.held_out)

        def example(places: Sequence[int], rows: int | None = None) -> Example:
            mine = list(places) or [0]
            made = {"images": images[mine].reshape(-1, *self.shape), "targets": classes[mine]}
            return filled(made, len(places), len(mine) if rows is None else rows)

        return HeldOut(len(images), example)

    def loss(self, model: nn.Module, example: Tensors) -> Losses:
        logits, targets = model(example["images"]), example["targets"]
        nats = _nats(logits, targets)
        if not model.training:
            return Losses(nats)
        own, penalties = auxiliary(model), []
        if self.smoothing:  # whose gradient is the whole one
            nats = nats.detach()
            penalties.append(_nats(logits, targets, self.smoothing) - nats)
        if own is not None:
            penalties.append(own * len(targets))
        return Losses(nats, sum(penalties, torch.zeros_like(nats)) if penalties else None)

    def score(self, model: nn.Module, example: Tensors) -> dict[str, torch.Tensor]:
        logits, targets = model(example["images"]), example["targets"]
        nats = _nats(logits, targets)
        right = logits.argmax(-1) == targets
        return {"nats": nats, "right": right.sum(), "images": (targets != IGNORED).sum()}

    def measure(self, sums: Mapping[str, float]) -> dict[str, float]:
        return {
            "accuracy": sums["right"] / sums["images"],
            "cross_entropy": sums["nats"] / sums["images"],
        }

    def sample(self, model: nn.Module) -> Sample | None:
        """The first held-out images beside what the model takes them for."""
        images, classes = (part[:_SHOWN] for part in self.source.held_out)
        with torch.no_grad():
            logits = model(beside(model, images.reshape(-1, *self.shape)))
        guesses = logits.argmax(-1).tolist()
        said = images[:, 0] if images.ndim == 4 and images.shape[1] == 1 else images
        data = {"images": said.tolist(), "guesses": guesses, "classes": classes.tolist()}
        names = getattr(self.source, "names", ()) or range(self.source.classes)
        below = [
            f"{names[guess]}" if guess == right else f"{names[guess]} (is {names[right]})"
            for guess, right in zip(guesses, classes, strict=True)
        ]
        return Sample("picture", shaded(images, below), data)

    def about(self) -> str:
        return told(self.source)


def _nats(logits: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    return F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing)
