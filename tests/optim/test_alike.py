"""Rules on whole matrices, as optimizers: batches, counts, state in and out, sharded parameters."""

from __future__ import annotations

import copy
import os

import pytest
import torch
import torch.multiprocessing
from hypothesis import given
from hypothesis import strategies as st

from danlu.optim.alike import alike, stack
from danlu.optim.rules.adafactor import Adafactor
from danlu.optim.rules.amos import Amos
from danlu.optim.rules.muon import Muon
from danlu.optim.rules.soap import SOAP

MATRICES = [(6, 4), (4, 6), (6, 4), (8, 8), (8, 8), (3, 12)]
RULES = {
    "adafactor": lambda params, **more: Adafactor(params, weight_decay=0.1, **more),
    "amos": lambda params, **more: Amos(params, lr=0.1, **more),
    "amos-momentum": lambda params, **more: Amos(params, lr=0.1, momentum=0.9, **more),
    "muon": lambda params, **more: Muon(params, weight_decay=0.1, **more),
    "soap": lambda params, **more: SOAP(params, every=2, **more),
}
each_rule = pytest.mark.parametrize("rule", RULES)


def parameters(rule, dtype=torch.float32):
    shapes = MATRICES if rule == "muon" else [*MATRICES, (5,), (5,), ()]
    return [torch.nn.Parameter(torch.randn(shape).to(dtype)) for shape in shapes]


def gradient(p, step, place):
    generator = torch.Generator().manual_seed(100 * step + place)
    return torch.randn(p.shape, generator=generator).to(p.dtype)


def run(optimizer, params, steps, missing=()):
    for step in steps:
        for place, p in enumerate(params):
            p.grad = None if place in missing else gradient(p, step, place)
        optimizer.step()


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), max_size=12))
def test_every_tensor_is_in_one_batch(shapes):
    tensors = [torch.zeros(shape) for shape in shapes]
    batches = list(alike(tensors))
    assert sorted(id(t) for batch in batches for t in batch) == sorted(id(t) for t in tensors)
    assert all(len({t.shape for t in batch}) == 1 for batch in batches)
    assert len(batches) == len(set(shapes))


def test_a_batch_is_bounded():
    """On a CPU what its caches hold, but one tensor at least; one alone is not copied."""
    assert [len(batch) for batch in alike([torch.zeros(256, 256)] * 5)] == [2, 2, 1]
    assert [len(batch) for batch in alike([torch.zeros(1024, 1024)] * 3)] == [1, 1, 1]
    large = torch.zeros(3, 4)
    assert stack([large])[0].data_ptr() == large.data_ptr()


@each_rule
def test_together_as_alone(rule):
    """To rounding; Muon's in bfloat16, SOAP's bases may turn by it."""
    together = parameters(rule, torch.float64)
    alone = copy.deepcopy(together)
    run(RULES[rule](together), together, range(5))
    for place, p in enumerate(alone):
        optimizer = RULES[rule]([p])
        for step in range(5):
            p.grad = gradient(p, step, place)
            optimizer.step()
    bound = 0.01 if rule == "muon" else 1e-9
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a, b, rtol=bound, atol=bound)


@each_rule
def test_no_gradient_no_change(rule):
    params = parameters(rule)
    before = copy.deepcopy(params)
    optimizer = RULES[rule](params)
    run(optimizer, params, range(3), missing=[0, 4])
    for place, (p, old) in enumerate(zip(params, before, strict=True)):
        assert torch.equal(p, old) == (place in (0, 4))
    run(optimizer, params, range(3, 5))  # and later they may have one
    assert all(p.isfinite().all() and not torch.equal(p, old) for p, old in zip(params, before, strict=True))


@each_rule
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("state_dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("how", ["state_dict", "put_state"])
def test_continuing_is_never_having_stopped(rule, dtype, state_dtype, how):
    """Bit for bit, through PyTorch's ``state_dict`` and through the tensors of a checkpoint."""
    whole = parameters(rule, dtype)
    parted = copy.deepcopy(whole)
    run(RULES[rule](whole, state_dtype=state_dtype), whole, range(6))

    first = RULES[rule](parted, state_dtype=state_dtype)
    run(first, parted, range(3))
    again = copy.deepcopy(parted)
    with torch.no_grad():
        for p in again:
            p.mul_(2)  # a state made now would not do
    second = RULES[rule](again, state_dtype=state_dtype)
    second.prepare()
    with torch.no_grad():
        for p, kept in zip(again, parted, strict=True):
            p.copy_(kept)
    if how == "state_dict":
        second.load_state_dict(copy.deepcopy(first.state_dict()))
    else:
        for p, kept in zip(again, parted, strict=True):
            second.put_state(p, {key: t.clone() for key, t in first.state[kept].items()})
    run(second, again, range(3, 6))
    for a, b in zip(whole, again, strict=True):
        assert torch.equal(a, b)


@each_rule
def test_state_in_the_dtype_asked_for(rule):
    """Tensors of the parameters' shapes; sums, bases and counts stay in float32."""
    params = parameters(rule)[: len(MATRICES)]
    optimizer = RULES[rule](params, state_dtype=torch.bfloat16)
    optimizer.prepare()
    moments = {"momentum", "exp_avg", "exp_avg_sq"}
    for p in params:
        for key, tensor in optimizer.state[p].items():
            assert tensor.dtype == (torch.bfloat16 if key in moments else torch.float32), key


def sharded(rank, folder):
    """One of two processes, each with some rows of every parameter; the first keeps what comes out."""
    import torch.distributed as dist
    from torch.distributed.tensor import DTensor, Shard, distribute_tensor, init_device_mesh

    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    results = {}
    for rule in RULES:
        torch.manual_seed(0)
        plain = [p for p in parameters(rule) if p.ndim]
        params = [torch.nn.Parameter(distribute_tensor(p.detach(), mesh, [Shard(0)])) for p in plain]
        optimizer = RULES[rule](params)
        for step in range(5):
            for place, p in enumerate(params):
                p.grad = distribute_tensor(gradient(plain[place], step, place), mesh, [Shard(0)])
            optimizer.step()
        results[rule] = [p.detach().full_tensor() for p in params]
        for p in params:
            for key, tensor in optimizer.state[p].items():
                like_rows = key in ("momentum", "exp_avg", "exp_avg_sq", "rows", "square") or (
                    key.startswith(("left", "right")) or (key == "columns" and p.ndim > 2)
                )
                assert isinstance(tensor, DTensor) == like_rows, key
    if rank == 0:
        torch.save(results, f"{folder}/results.pt")
    dist.barrier()  # none leaves while another still works
    dist.destroy_process_group()
    os._exit(0)  # threads of gloo aborted a process once that had done all and was on its way out


@pytest.mark.slow
def test_sharded_as_whole(tmp_path):
    """As FSDP2 shards them, rows over two processes, uneven where rows are odd in number."""
    torch.multiprocessing.spawn(sharded, (str(tmp_path),), nprocs=2)
    results = torch.load(tmp_path / "results.pt")
    for rule in RULES:
        torch.manual_seed(0)
        params = [p for p in parameters(rule) if p.ndim]
        run(RULES[rule](params), params, range(5))
        for a, b in zip(params, results[rule], strict=True):
            torch.testing.assert_close(a.detach(), b, rtol=1e-5, atol=1e-5)
