"""Bits per byte: what they are of a model that knows nothing, and that each token counts once."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from danlu import data, objectives
from danlu.models import Decoder, build
from danlu.spec import Experiment, resolve
from danlu.train.assemble import assemble, objective_of
from danlu.train.evaluate import Stopped, evaluate
from danlu.train.parallel import Processes
from tests.train import small

ALONE = Processes(0, 1, torch.device("cpu"))


def prepared(tmp_path: Path, *more: str) -> tuple[Experiment, data.Dataset, Decoder]:
    experiment = resolve(small.words(small.corpus(tmp_path), *more))
    dataset = data.prepare(experiment.data)
    torch.manual_seed(0)
    return experiment, dataset, build(experiment.model, dataset.tokenizer.vocabulary, experiment.text.context)


def objective(experiment: Experiment, dataset: data.Dataset) -> objectives.Language:
    found: objectives.Language = objectives.build(experiment.objective, dataset)
    return found


def test_a_uniform_guess_costs_the_logarithm_of_the_vocabulary(tmp_path: Path) -> None:
    """Of d documents of n bytes in all, n + d − 1 tokens are predicted: every byte, and the separator before
    every document but the first. Their bits are divided by the n bytes."""
    experiment, dataset, model = prepared(tmp_path, "model.tied=false", "model.init.readout=0")
    of = objective(experiment, dataset)
    score = evaluate(model, of, of.held_out(), ALONE, rows=3)
    held_out = dataset.record["splits"]["held_out"]
    n, d = held_out["bytes"], held_out["documents"]
    assert d > 1 and len(dataset.held_out) == n + d
    assert score["bits_per_byte"] == pytest.approx(math.log2(257) * (n + d - 1) / n, rel=1e-6)
    assert score["held_out_loss"] == pytest.approx(math.log(257), rel=1e-6)


def test_it_does_not_depend_on_the_rows_of_a_pass(tmp_path: Path) -> None:
    experiment, dataset, model = prepared(tmp_path, "model.dropout=0.5")
    model.train()
    of = objective(experiment, dataset)
    found = [evaluate(model, of, of.held_out(), ALONE, rows=rows) for rows in (1, 7, 1000)]
    assert model.training
    for score in found[1:]:
        assert score == pytest.approx(found[0], rel=1e-6)  # dropout is off


@pytest.mark.parametrize("limit", [None, 100])
def test_each_token_is_predicted_once(tmp_path: Path, limit: int | None) -> None:
    """A model that prices token t at its place's number of nats: the sum tells which were priced."""
    experiment, dataset, _ = prepared(tmp_path)
    seen: list[int] = []
    predicted = len(dataset.held_out) - 1 if limit is None else limit

    class Uniform(torch.nn.Module):
        def forward(self, tokens: torch.Tensor, documents: torch.Tensor | None = None) -> torch.Tensor:
            seen.append(len(tokens))
            return torch.zeros(*tokens.shape, dataset.tokenizer.vocabulary)

    of = objective(experiment, dataset)
    found = of.held_out(limit)
    score = evaluate(Uniform(), of, found, ALONE, rows=4)
    made = (found.example([i], None)["targets"] for i in range(found.count))
    targets = np.concatenate([part[part != objectives.IGNORED] for part in made])
    assert np.array_equal(targets, dataset.held_out.ids[1 : predicted + 1])
    size = int(dataset.tokenizer.token_bytes[targets].sum())
    assert score["bits_per_byte"] == pytest.approx(math.log2(257) * predicted / size, rel=1e-6)
    assert sum(seen) == found.count == math.ceil(predicted / 16)


def test_processes_share_the_windows_without_counting_twice(tmp_path: Path) -> None:
    experiment, dataset, model = prepared(tmp_path)
    of = objective(experiment, dataset)
    found = of.held_out(5 * 16)  # an odd number of windows: the second process has one less
    alone = evaluate(model, of, found, ALONE, rows=2)
    parts: list[torch.Tensor] = []

    class One(Processes):
        def sum(self, tensor: torch.Tensor) -> torch.Tensor:
            parts.append(tensor.clone())
            return torch.stack(parts).sum(0)  # of the last, the sum over both

    for rank in range(2):
        both = evaluate(model, of, found, One(rank, 2, torch.device("cpu")), rows=2)
    assert both == pytest.approx(alone, rel=1e-6)
    assert [int(part[1]) for part in parts] == [3 * 16, 2 * 16]


def test_a_signal_ends_it_between_two_passes(tmp_path: Path) -> None:
    experiment, dataset, model = prepared(tmp_path)
    model.train()
    asked: list[None] = []

    def stop() -> bool:
        asked.append(None)
        return len(asked) == 3

    of = objective(experiment, dataset)
    with pytest.raises(Stopped):
        evaluate(model, of, of.held_out(), ALONE, rows=1, stop=stop)
    assert len(asked) == 3 and model.training


def test_a_signal_ends_it_while_samples_are_made() -> None:
    """A sampler asks the network many times after the last held-out example was scored."""
    experiment = resolve(["flow-8gaussians", "model.width=16", "objective.steps=5", "data.held_out=64"])
    of = objective_of(experiment, data.prepare(experiment.data))
    found = assemble(experiment, of).model
    passes = [0]

    def count(*_: object) -> None:
        passes[0] += 1

    found.register_forward_hook(count)
    for last in (2, 4):
        passes[0] = 0
        with pytest.raises(Stopped):
            evaluate(found, of, of.held_out(), ALONE, rows=64, stop=lambda last=last: passes[0] == last)
        assert passes[0] == last
    evaluate(found, of, of.held_out(), ALONE, rows=64)  # nothing is left that asks


def test_documents_apart_are_scored_apart(tmp_path: Path) -> None:
    """What stands before a separator does not change the price of what stands after it."""
    experiment, dataset, model = prepared(tmp_path, "model.init.branch=same", "model.layers=2")
    separator = dataset.tokenizer.separator
    inputs = np.array([5, 6, 7, 8, separator, *range(20, 31)])
    other = np.array([9, 9, 9, 9, separator, *range(20, 31)])
    targets, mask = np.arange(16), np.arange(16) >= 4

    def score(row: np.ndarray, apart: bool) -> float:
        documents = "separate" if apart else "join"
        split = experiment.text.model_copy(update={"documents": documents})
        causal = objective(experiment, replace(dataset, spec=split))
        example = causal.make(row[None], targets[None], [(0,)], mask[None])
        return float(causal.score(model.eval(), {n: torch.from_numpy(a) for n, a in example.items()})["nats"])

    assert score(inputs, True) == score(other, True)
    assert score(inputs, False) != score(other, False)
