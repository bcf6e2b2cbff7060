"""Two gloo processes on the CPU save and load; every case runs in the same pair to be quick."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from danlu.train import checkpoint, sharded
from danlu.train.errors import RunError
from danlu.train.sharded import flatten, load_full, load_sharded, save_sharded, unflatten
from danlu.train.store import latest_step, list_steps, step_folder
from tests.conftest import LIMIT

# One rank of a group: `python test_sharded.py RANK SIZE STORE CASE FOLDER`, one case after another.
STEP = 7


def build():
    """Weights, tied weights, and AdamW's state after two updates; the same on any number of processes."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    torch.manual_seed(0)
    # 7 and 5 rows do not divide by 2, and the bias of one row leaves a process empty-handed.
    model = torch.nn.Sequential(torch.nn.Linear(6, 7), torch.nn.Linear(7, 5), torch.nn.Linear(5, 1)).double()
    model[0].bias.data = model[0].bias.data.bfloat16().double()
    fully_shard(model, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    data = torch.randn(8, 6, dtype=torch.float64)
    for _ in range(2):
        model(data).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    names = [name for name, _ in model.named_parameters()]
    state = {
        f"{names[place]}.{key}": value
        for place, kept in optimizer.state_dict()["state"].items()
        for key, value in kept.items()
    }
    weights = dict(model.state_dict())
    weights["tied"] = weights["2.bias"].detach()
    extra = {"transposed": torch.arange(6.0).reshape(2, 3).T, "counter": torch.tensor(3)}
    extra["half"] = torch.arange(3).bfloat16()
    return flatten({"model": weights, "optimizer": state, "extra": extra})


def whole(tensors):
    return {n: (t.full_tensor() if hasattr(t, "full_tensor") else t).clone() for n, t in tensors.items()}


def blank(tensors):
    with torch.no_grad():
        for tensor in tensors.values():
            sharded._local(tensor).zero_()


def case_save(folder, rank):
    tensors = build()
    expected = whole(tensors)
    path = save_sharded(folder, STEP, tensors, {"loss": float("inf"), "rank": rank}, keep=1)
    assert path == step_folder(folder, STEP)
    if rank == 0:
        checkpoint.save(folder / "reference", STEP, unflatten(expected), {"reference": True})


def case_load(folder, rank):
    tensors = build()
    blank(tensors)
    state = load_sharded(folder, tensors)
    assert state == {"loss": float("inf"), "rank": 0}
    compare(folder, whole(tensors))
    blank(tensors)
    assert load_sharded(folder / "reference", tensors) == {"reference": True}  # saved by one process
    compare(folder, whole(tensors))


def case_trouble(folder, rank):
    """What goes wrong on one process is raised on all, and the checkpoint before stays."""
    tensors = build()
    local = dict(tensors)
    for name, wrong, words in [
        ("model/0.weight", None, "has 'model/0.weight' too"),
        ("model/new", torch.zeros(1), "lacks 'model/new'"),
        ("extra/counter", torch.tensor(3.0), "'extra/counter' is"),
        ("extra/half", torch.zeros(4).bfloat16(), "'extra/half' is"),
    ]:
        template = (
            {**local, name: wrong} if wrong is not None else {n: t for n, t in local.items() if n != name}
        )
        refused(lambda template=template: load_sharded(folder, template), words)
    refused(lambda: load_sharded(folder, tensors, step=99), "step-99 is missing")

    real = sharded._sums

    def full(aside):
        if rank == 1:
            raise OSError(28, "No space left on device", str(aside))
        return real(aside)

    sharded._sums = full
    refused(lambda: save_sharded(folder, STEP + 1, tensors, {}), "disk full while writing")
    sharded._sums = real
    refused(lambda: save_sharded(folder, STEP + 1, tensors, {"bad": {1}}), "a set cannot be written")
    assert list_steps(folder) == [STEP] and latest_step(folder) == STEP
    load_sharded(folder, tensors)

    import torch.distributed as dist

    dist.barrier()
    shard = step_folder(folder, STEP) / "shard-00002-model-00001-of-00001.safetensors"
    data = shard.read_bytes()
    dist.barrier()
    if rank == 0:
        shard.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    dist.barrier()
    refused(lambda: load_sharded(folder, tensors), "shard-00002-model-00001-of-00001.safetensors was altered")
    dist.barrier()
    if rank == 0:
        shard.write_bytes(data)
    dist.barrier()


def refused(act, words):
    try:
        act()
    except Exception as error:
        assert words in str(error), str(error)
    else:
        raise AssertionError(f"nothing was raised; {words!r} expected")


def compare(folder, found):
    expected = flatten(checkpoint.load(folder / "reference")[0])
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name


def main(rank, size, store, *jobs):
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
    for case, folder in zip(jobs[::2], jobs[1::2], strict=True):
        globals()[f"case_{case}"](Path(folder), rank)
    dist.destroy_process_group()


def processes(size, store, *jobs):
    command = [sys.executable, __file__]
    words = [str(store), *map(str, jobs)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    group = [
        subprocess.Popen(
            [*command, str(r), str(size), *words], stderr=subprocess.PIPE, text=True, env=environment
        )
        for r in range(size)
    ]
    try:
        errors = [process.communicate(timeout=LIMIT)[1] for process in group]
    finally:
        for process in group:
            process.kill()
    assert [process.returncode for process in group] == [0] * size, "\n".join(errors)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder saved by one process and one by two, after which two have loaded both, and one the other's."""
    root = tmp_path_factory.mktemp("sharded")
    one, two = root / "one", root / "two"
    processes(1, root / "store1", "save", one)
    processes(2, root / "store2", "save", two, "load", two, "load", one, "trouble", two)
    processes(1, root / "store3", "load", two, "load", one)
    return one, two


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1], ids=["one process", "two processes"])
def test_one_process_without_a_group_reads_all(saved, which):
    folder = saved[which]
    assert not torch.distributed.is_initialized()
    found, state = load_full(folder)
    assert state == {"loss": float("inf"), "rank": 0}
    compare(folder, found)
    assert found["model/tied"] is found["model/2.bias"]
    compare(folder, flatten(checkpoint.load(folder)[0]))
    model, _ = checkpoint.load(folder, only={"model"})
    assert set(model) == {"model"} and "0.weight" in model["model"]
    compare(folder, flatten(checkpoint.load(folder / "reference")[0]))
    template = {name: torch.zeros_like(tensor) for name, tensor in found.items()}
    load_sharded(folder, template)
    compare(folder, template)


@pytest.mark.slow
def test_the_weights_of_both_are_the_same_model(saved):
    one, two = (load_full(folder, prefixes=("model/",))[0] for folder in saved)
    assert one.keys() == two.keys() and all(name.startswith("model/") for name in one)
    for name in one:  # gradients were averaged over two processes: the last bits may differ
        torch.testing.assert_close(one[name], two[name], rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_nothing_is_pickled_and_each_process_wrote_its_own(saved):
    names = sorted(path.name for path in step_folder(saved[1], STEP).iterdir())
    assert names == [f"shard-0000{rank}-model-00001-of-00001.safetensors" for rank in (1, 2)] + ["state.json"]
    record = json.loads((step_folder(saved[1], STEP) / "state.json").read_text())
    assert record["content"]["processes"] == 2


def test_a_group_of_none(tmp_path):
    """Without torch.distributed the same calls work, for a run that is sharded over one process."""
    tensors = {"a/x": torch.randn(3), "a/y": torch.randn(2, 2).T}
    save_sharded(tmp_path, 1, tensors, {"s": 1})
    template = {name: torch.zeros(tensor.shape) for name, tensor in tensors.items()}
    assert load_sharded(tmp_path, template) == {"s": 1}
    assert all(torch.equal(template[name], tensors[name]) for name in tensors)
    save_sharded(tmp_path, 2, {}, {})
    assert load_full(tmp_path) == ({}, {})
    with pytest.raises(RunError, match="lacks 'a/x'"):
        load_sharded(tmp_path, template)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
