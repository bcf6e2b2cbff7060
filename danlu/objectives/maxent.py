"""Maximum entropy: p(y|x) under constraints, whose dual is the likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn as nn

from danlu import spec
from danlu.data import Finite
from danlu.data.errors import DataError
from danlu.data.labelled import Floats, Labelled, of_finite
from danlu.nn import builds
from danlu.objectives.base import Draw, Example, HeldOut, Losses, Objective, Sample, Tensors
from danlu.objectives.numbers import check_classes

_SHOWN = 12


@builds(spec.MaximumEntropy)
class MaximumEntropy(Objective):
    """The mean −log p of a training row's class, of which the gradient is E_p f − Ẽf (``danlu.maxent``).

    An example is the whole training set: ``x`` [1, rows, columns] and ``share`` [1, rows, classes], the
    joint distribution p̃(x, y) with its ``smoothing``, both float64. A held-out example is rows ``x`` and
    ``counts`` of their classes, without smoothing.
    """

    unit, term = "epoch", "row"

    def __init__(self, source: Labelled | Finite, *, smoothing: float, threshold: float | None) -> None:
        from danlu.maxent import MaxentError, Product, of_counts

        if isinstance(source, Finite):
            check_classes(source, "objective.kind = maxent")
        data = of_finite(source) if isinstance(source, Finite) else source
        self.data, self.record, self.threshold = data, data.record, threshold
        x, counts = self._columns(data.train[0]), data.train[1]
        rows = counts.sum(axis=1, keepdims=True)
        smooth = (1 - smoothing) * counts + smoothing / len(data.classes) * rows
        try:
            self.problem = of_counts(Product(x, data.columns, data.classes), smooth, zeros="bar")
        except MaxentError as error:
            raise DataError(f"{data.spec.name}: {error}") from None
        self.inputs = len(data.columns), len(data.classes), self.problem
        self._example = {"x": x[None], "share": np.asarray(self.problem.joint)[None]}

    def _columns(self, x: Floats) -> Floats:
        return x if self.threshold is None else (x > self.threshold).astype(np.float64)

    def example(self, draw: Draw) -> Example:
        return self._example

    def held_out(self, limit: int | None = None) -> HeldOut:
        from danlu.maxent import Product
        from danlu.maxent.features import allowed

        x, counts = (part[:limit] for part in self.data.held_out)
        x = self._columns(x)
        features = Product(x, self.data.columns, self.data.classes)
        if barred := int(counts[~allowed(features, self.problem.barred)].sum()):
            raise DataError(
                f"{barred:,} of {int(counts.sum()):,} held-out rows have a class together with a column that "
                "training rows never show, so that their probability is 0; set objective.smoothing = 0.01"
            )

        def example(places: Sequence[int], rows: int | None = None) -> Example:
            mine, short = list(places), 0 if rows is None else rows - len(places)
            return {
                "x": np.pad(x[mine], ((0, short), (0, 0))),
                "counts": np.pad(counts[mine], ((0, short), (0, 0))),
            }

        return HeldOut(len(x), example)

    def log_p(self, model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """ln p(y|x), (…, classes); −∞ for pairs that a feature forbids which is never seen."""
        scores: torch.Tensor = model(x)
        if self.problem.barred.any():
            barred = torch.as_tensor(self.problem.barred, dtype=x.dtype, device=x.device)
            out = x @ barred.view(x.shape[-1], -1) > 0
            scores = scores.masked_fill(out & ~out.all(-1, keepdim=True), -torch.inf)
        return scores.log_softmax(-1)

    def loss(self, model: nn.Module, example: Tensors) -> Losses:
        return Losses(_nats(self.log_p(model, example["x"]), example["share"]))

    def score(self, model: nn.Module, example: Tensors) -> dict[str, torch.Tensor]:
        log_p, counts = self.log_p(model, example["x"]), example["counts"]
        right = counts.gather(-1, log_p.argmax(-1, keepdim=True))
        return {"nats": _nats(log_p, counts), "right": right.sum(), "rows": counts.sum()}

    def measure(self, sums: Mapping[str, float]) -> dict[str, float]:
        return {"nats": sums["nats"] / sums["rows"], "accuracy": sums["right"] / sums["rows"]}

    def judge(self, model: nn.Module) -> dict[str, float]:
        """Of the training rows: ``train_nats``, with smoothing; ``violation``: the largest |E_p f − Ẽf|, as a
        share of the feature's largest size; ``dual_gap``: by how much the entropy of the model and the nats
        differ, 0 at the optimum."""
        from danlu.maxent import entropy

        found = self.problem.look(_weights(model).ravel())
        gap = abs(entropy(self.problem.mass, found.p) - found.nll)
        return {"train_nats": found.nll, "violation": found.residual, "dual_gap": gap}

    def sample(self, model: nn.Module) -> Sample:
        """The largest weights by name, each less the mean over classes, which no probability depends on."""
        weights = _weights(model)
        weights = (weights - weights.mean(axis=1, keepdims=True)).ravel()
        order = np.argsort(-np.abs(weights), kind="stable")[:_SHOWN]
        found = {self.problem.features.names[i]: float(weights[i]) for i in order}
        measured = {name: float(value) for name, value in self.judge(model).items()}
        lines = [f"{name.replace('_', ' ')} {value:.6g}" for name, value in measured.items()]
        lines += ["", "the largest weights"] + [f"{value:+9.3f}  {name}" for name, value in found.items()]
        return Sample("text", "\n".join(lines), {**measured, "weights": found})

    def about(self) -> str:
        features, unseen = len(self.problem.features.names), len(self.problem.unseen)
        left = f", {unseen:,} of which no training row has" if unseen else ""
        return f"{int(self.data.train[1].sum()):,} training rows, {features:,} features{left}"


def _nats(log_p: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """−Σ weight · log p, where 0 · −∞ is 0."""
    return -torch.where(weight > 0, weight * log_p, 0.0).sum()


def _weights(model: Any) -> Floats:
    return np.asarray(model.weight.detach().cpu().numpy())
