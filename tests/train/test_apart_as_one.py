"""Passes of workers that train apart, made as those of one network: what each does alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from danlu import data
from danlu.objectives import Objective
from danlu.spec import resolve
from danlu.train.apart import Apart, updates
from danlu.train.assemble import assemble, objective_of
from tests.train import small
from tests.train.apart_alone import exactly, train_, weights
from tests.train.test_apart import KINDS

# By rules that look at numbers and at matrices, in one pass of each worker and in two.
RULES = {
    "numbers": ["optimizer=adamw"],
    "matrices": [
        "optimizer=muon", "train.batch=16", "train.microbatch=2", "model.tied=false", "model.norm=layer",
        "objective.z_loss=0.01",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return small.words(small.corpus(tmp_path_factory.mktemp("apart")))


@pytest.fixture(scope="module")
def objective(words: list[str]) -> Objective:
    experiment = resolve(words)
    return objective_of(experiment, data.prepare(experiment.data))


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("rule", ["numbers", pytest.param("matrices", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_each_alone_bit_for_bit(
    words: list[str],
    objective: Objective,
    kind: str,
    rule: str,
    precision: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Losses, norms, weights and states, in the types that runs have; in float64, where PyTorch's kernels add
    in another order, to 1e-12."""
    experiment = resolve([*words, *RULES[rule], "model.layers=2", f"train.outer={KINDS[kind]}"])

    def trained(joined: bool) -> tuple[list[Any], dict[str, torch.Tensor]]:
        with monkeypatch.context() as patch:
            if not joined:
                patch.setattr(Apart, "_small", lambda self: False)
            if precision == "float64":
                update = exactly(experiment, objective)
            else:
                update = updates(assemble(experiment, objective, precision))
        assert isinstance(update, Apart) and update.stacked == joined
        seen = train_(update, 7)
        return seen, {f"{where}/{name}": t for where, every in {
            "global": weights(update), "norms": {"": update.norms}, **update.workers.tensors()
        }.items() for name, t in every.items()}  # fmt: skip

    (seen, kept), (others, their) = trained(True), trained(False)
    assert any(name.startswith("workers/3/optimizer/") for name in kept)
    if precision == "float64":
        torch.testing.assert_close(seen, others, rtol=0, atol=1e-12)
        torch.testing.assert_close(kept, their, rtol=0, atol=1e-12)
    else:
        assert seen == others and kept.keys() == their.keys()
        assert all(torch.equal(tensor, their[name]) for name, tensor in kept.items())


@pytest.mark.parametrize(
    "more",
    [["model.dropout=0.1"], ["data.context=512", "train.batch=128"], ["train.outer.workers=1"]],
    ids=" ".join,
)
def test_networks_without_a_batched_form_large_ones_and_one_alone_go_in_turn(
    words: list[str], more: list[str]
) -> None:
    update = exactly(resolve([*words, "model.width=64", "train.outer=diloco", *more]))
    assert isinstance(update, Apart) and not update.stacked and update.network is update.made.model
