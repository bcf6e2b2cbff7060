"""Logits in parts: the same loss and gradients, less memory, where they are large."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from danlu import data, objectives
from danlu.models import build
from danlu.nn.fused import META
from danlu.objectives import Language, chunks, training_keys
from danlu.spec import resolve
from danlu.train.costs import costs

NETWORK = ("model.layers=1", "model.width=8", "model.mixer.heads=2", "data.context=24")
CASES = {
    "causal": (),
    "z-loss": ("objective.z_loss=0.1",),
    "smoothing": ("objective.smoothing=0.2",),
    "soft-cap and scale": ("model.softcap=3", "model.logit_scale=2.5", "objective.z_loss=0.1"),
    "tied, narrow": ("model.tied=true", "model.init.readout=none", "model.embedding_width=6"),
    "mup": ("model.base_width=4",),
    "prefix": ("+prefix-lm", "objective.length=4"),
    "documents": ("data.documents=separate",),
    "masked": ("+masked-lm",),
    "diffusion": ("+masked-diffusion",),
    "spans": ("+span-corruption",),
    "biased": ("model.readout_bias=true",),
}


def made(*words: str) -> tuple[Language, Any, dict[str, torch.Tensor]]:
    experiment = resolve(["tiny", *NETWORK, *words])
    tokenizer = SimpleNamespace(vocabulary=23, separator=22, token_bytes=np.ones(23, np.int32))
    objective = objectives.build(
        experiment.objective,
        data.Dataset.outline(experiment.data, tokenizer),  # type: ignore[arg-type]
    )
    assert isinstance(objective, Language)
    torch.manual_seed(0)
    model = build(experiment.model, *objective.inputs).double()
    model.compute = torch.float64
    text = np.random.default_rng(0).integers(23, size=(3, objective.context + 1))
    example = objective.make(text[:, :-1], text[:, 1:], training_keys(0, 0, 0, 3))
    return objective, model, {name: torch.from_numpy(array) for name, array in example.items()}


def numbers(objective: Language, model: Any, example: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    losses = objective.loss(model, example)
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [losses.total, losses.minimised, *torch.autograd.grad(losses.minimised, parameters)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two positions at a time, of 23 ids."""
    monkeypatch.setattr(chunks, "LARGE", {"cpu": 2 * 4 * 23 * chunks.PARTS})


@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradients_are_those_of_all_logits(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objective, model, example = made(*CASES[case])
    with torch.no_grad():  # no weight is one that hides a difference
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    expected = numbers(objective, model, example)
    scored = objective.score(model.eval(), example)
    shapes: list[tuple[int, ...]] = []
    monkeypatch.setattr(chunks, "LARGE", {"cpu": 2 * 4 * 23 * chunks.PARTS})
    model.train().readout.register_forward_hook(lambda _, x, y: shapes.append(tuple(y.shape)))
    for got, wanted in zip(numbers(objective, model, example), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)
    assert {len(shape) for shape in shapes} == {2} and max(n for n, _ in shapes) <= 2
    targets = example["targets"].numel()
    assert sum(n for n, _ in shapes) == 2 * targets  # once more for the backward pass
    shapes.clear()
    with torch.no_grad():
        for name, value in objective.score(model.eval(), example).items():
            torch.testing.assert_close(value, scored[name], rtol=1e-12, atol=1e-12)
    assert sum(n for n, _ in shapes) == targets


def test_parts_are_equal_and_small() -> None:
    for device, large in chunks.LARGE.items():
        edge = large // (4 * 50304)
        assert chunks.positions_at_once(device, edge, 50304) is None
        for positions in (edge + 1, 3 * edge, 100 * edge):
            rows = chunks.positions_at_once(device, positions, 50304)
            assert rows is not None and rows * 50304 * 4 <= large / chunks.PARTS
            count = -(-positions // rows)
            assert 0 <= rows * count - positions < count  # as equal as whole numbers can be
        assert chunks.positions_at_once(device, 2, 2**40) == 1
    token = META.set("cuda")
    try:
        assert chunks.positions_at_once("meta", 2**20, 50304) == chunks.positions_at_once(
            "cuda", 2**20, 50304
        )
    finally:
        META.reset(token)


def test_who_looks_at_logits_gets_them(small: None) -> None:
    objective, model, example = made()
    seen: list[tuple[int, ...]] = []
    model.register_forward_hook(lambda _, x, y: seen.append(tuple(y.shape)))
    objective.loss(model, example)
    assert seen == [(3, 24, 23)]


@pytest.mark.slow
def test_it_is_one_graph(small: None) -> None:
    objective, model, example = made("objective.z_loss=0.1")
    expected = numbers(objective, model, example)
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    eager, objective.loss = (
        objective.loss,
        torch.compile(  # type: ignore[method-assign]
            objective.loss, backend=counter, fullgraph=True, dynamic=False
        ),
    )
    for _ in range(2):
        for got, wanted in zip(numbers(objective, model, example), expected, strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-11)
    assert counter.frame_count == 1
    objective.loss = eager  # type: ignore[method-assign]


def test_costs_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Activations are less by what the plain loss keeps: the logarithms of all probabilities, in float32, and
    for the z-loss the logits and the logarithm of a sum for each position."""
    words = ["tiny", *NETWORK, "train.device=cpu", "train.precision=float32", "objective.z_loss=0.1"]
    experiment = resolve([*words, "train.batch=8"])
    plain = costs(experiment, 1000)["memory"]["activations"]
    monkeypatch.setattr(chunks, "LARGE", {"cpu": 8 * 1000})
    parts = costs(experiment, 1000)["memory"]["activations"]
    positions = 8 * 24
    assert plain - parts >= 2 * 4 * positions * 1000
    assert plain - parts <= 2 * 4 * positions * 1000 + 64 * positions


@pytest.fixture
def alone() -> Iterator[None]:
    """A group of this process alone."""
    import torch.distributed as dist

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_it_is_in_the_pass_that_the_wrapper_sees(kind: str, small: None, alone: None) -> None:
    """DDP and FSDP2 hook themselves into the network's own pass, and gather weights around it."""
    objective, model, example = made("objective.z_loss=0.1")
    objective.loss(model, example).minimised.backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    wrapped: Any = model
    if kind == "ddp":
        wrapped = torch.nn.parallel.DistributedDataParallel(model)
    else:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh("cpu", (1,))
        for block in model.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
    objective.loss(wrapped, example).minimised.backward()
    for name, p in model.named_parameters():
        got = p.grad.full_tensor() if hasattr(p.grad, "full_tensor") else p.grad
        torch.testing.assert_close(got, expected[name], rtol=1e-12, atol=1e-12)
