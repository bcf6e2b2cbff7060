"""Every rule on parameters sharded over four processes, in one process by PyTorch's ``LocalTensorMode``."""

from __future__ import annotations

import importlib
from typing import get_args

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from danlu import optim, spec
from danlu.nn.registry import class_for
from danlu.optim.rules.signs import squares
from danlu.spec.errors import DanluError
from danlu.train.precision import clip_on_device, total_norm

local_tensor = pytest.importorskip("torch.distributed._local_tensor")
fake = pytest.importorskip("torch.testing._internal.distributed.fake_pg")

PROCESSES = 4
MESHES = {"shards": ((4,), (Shard(0),)), "replicas-of-shards": ((2, 2), (Replicate(), Shard(0)))}
RULES = {
    kind.model_fields["kind"].default: (class_for(kind), {})
    for kind in get_args(get_args(spec.Optimizer)[0])
    if not issubclass(kind, spec.Solver)  # whose one table of weights is not sharded
}
RULES |= {
    "lion-lazy": (optim.Lion, {"lazy_rows": True}),
    "tiger-lazy": (optim.Tiger, {"lazy_rows": True}),
    "amos-momentum": (optim.Amos, {"momentum": 0.5}),
    "muon-rms": (optim.Muon, {"scale": "rms", "weight_decay": 0.1}),
}
SHAPES = [(6, 5), (8, 8), (7, 3), (3, 4)]  # rows that four processes don't share evenly, or not all have


@pytest.fixture(autouse=True)
def group():
    dist.init_process_group("fake", store=fake.FakeStore(), rank=0, world_size=PROCESSES)
    yield
    dist.destroy_process_group()


def draw(count):
    generator = torch.Generator().manual_seed(count)
    return [[torch.randn(s, generator=generator, dtype=torch.float64) for s in SHAPES] for _ in range(count)]


def train(rule, settings, numbers, place=torch.clone):
    """The parameters after three steps; ``place`` shards a tensor."""
    start, *gradients = numbers
    params = [torch.nn.Parameter(place(t)) for t in start]
    optimizer = rule(params, lr=0.1, **settings)
    for step in gradients:
        for p, g in zip(params, step, strict=True):
            p.grad = place(g)
        optimizer.step()
    return params


@pytest.mark.parametrize("mesh", MESHES.values(), ids=MESHES)
@pytest.mark.parametrize(("rule", "settings"), RULES.values(), ids=RULES)
def test_sharded_steps_are_those_of_whole_parameters(rule, settings, mesh):
    """Float64, to 1e-12; every process has the same."""
    (sizes, placements), numbers = mesh, draw(4)  # not where numbers are drawn for each process
    for gradient in numbers[1]:
        gradient[0] = 0.0  # a row for the lazy ones
    plain = train(rule, settings, numbers)
    with local_tensor.LocalTensorMode(PROCESSES):
        mesh = init_device_mesh("cpu", sizes)
        params = train(rule, settings, numbers, lambda t: distribute_tensor(t.clone(), mesh, placements))
        wholes = [p.full_tensor().detach().reconcile() for p in params]  # raises where processes differ
    for p, whole in zip(plain, wholes, strict=True):
        torch.testing.assert_close(whole, p.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mesh", MESHES.values(), ids=MESHES)
def test_vectors_and_stacks_of_matrices_under_adafactor(mesh, monkeypatch):
    monkeypatch.setitem(globals(), "SHAPES", [(6, 5), (9,), (5, 2, 3), (3,)])
    test_sharded_steps_are_those_of_whole_parameters(*RULES["adafactor"], mesh)


def test_adafactor_refuses_columns_elsewhere():
    mesh = init_device_mesh("cpu", (PROCESSES,))
    p = torch.nn.Parameter(distribute_tensor(torch.randn(4, 8), mesh, [Shard(1)]))
    p.grad = p.detach().clone()
    with pytest.raises(DanluError, match="whole or sharded by rows"):
        optim.Adafactor([p]).step()


MATRICES = [(6, 5)] * 5 + [(5, 6)] * 2  # more and fewer of one shape than processes


@pytest.mark.parametrize("mesh", MESHES.values(), ids=MESHES)
@pytest.mark.parametrize("name", ["muon", "soap"])
def test_matrices_of_one_shape_are_divided_and_come_out_the_same(name, mesh, monkeypatch):
    """Each process works on its part of them, none on more than n/N, rounded up."""
    monkeypatch.setitem(globals(), "SHAPES", MATRICES)
    counts, module = [], importlib.import_module(f"danlu.optim.rules.{name}")
    dealt = module.dealt

    def spy(tensors, *more):
        found = dealt(tensors, *more)
        if isinstance(found, local_tensor.LocalTensor):
            counts.append((len(tensors), [len(one) for one in found._local_tensors.values()]))
        return found

    monkeypatch.setattr(module, "dealt", spy)
    test_sharded_steps_are_those_of_whole_parameters(*RULES[name], mesh)
    shards = mesh[0][-1]
    assert {5, 2} == {n for n, _ in counts}
    for n, each in counts:
        assert sum(each) == n * PROCESSES // shards and max(each) == -(-n // shards)


@pytest.mark.parametrize("mesh", MESHES.values(), ids=MESHES)
@pytest.mark.parametrize("name", ["lion", "lion-lazy", "tiger", "tiger-lazy"])
def test_so_are_those_by_masks(name, mesh, monkeypatch):
    """As on a GPU."""
    from danlu.optim.rules import signs

    monkeypatch.setattr(signs, "decides", lambda p: False)
    test_sharded_steps_are_those_of_whole_parameters(*RULES[name], mesh)


@pytest.mark.parametrize("mesh", MESHES.values(), ids=MESHES)
def test_sharded_gradients_are_clipped_by_the_norm_of_all(mesh):
    (sizes, placements), (tensors,) = mesh, draw(1)
    norm = torch.linalg.vector_norm(torch.cat([t.flatten() for t in tensors]))
    assert norm > 1
    with local_tensor.LocalTensorMode(PROCESSES):
        mesh = init_device_mesh("cpu", sizes)
        sharded = [distribute_tensor(t.clone(), mesh, placements) for t in tensors]
        clip_on_device(sharded, total_norm(sharded).double(), 1.0)
        wholes = [t.full_tensor().reconcile() for t in sharded]
    for t, whole in zip(tensors, wholes, strict=True):
        torch.testing.assert_close(whole, t / (norm + 1e-6), rtol=1e-12, atol=0)


@pytest.mark.parametrize("mesh", MESHES.values(), ids=MESHES)
def test_replicas_count_once_in_a_sum(mesh):
    sizes, placements = mesh
    (tensors,) = draw(1)
    with local_tensor.LocalTensorMode(PROCESSES):
        mesh = init_device_mesh("cpu", sizes)
        found = squares([distribute_tensor(t.clone(), mesh, placements) for t in tensors]).reconcile()
    torch.testing.assert_close(found, torch.stack([t.square().sum() for t in tensors]))
