"""A model made on the meta device and sharded over two processes has, bit for bit, the weights of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from danlu.models import build
from danlu.nn.linear import weights_on_meta
from danlu.spec import resolve
from danlu.train.assemble import initial, objective_of, outlined
from danlu.train.parallel import Processes, distribute
from tests.conftest import LIMIT, ROOT

# DeepNorm draws anew and scales, LRU draws weights of its own kind, 3 heads divide by no number of processes.
CASES = {
    "tied": ["tiny", "model.tied=true", "model.init.readout=none"],
    "deepnorm": ["nano", "+deepnorm"],
    "lru": ["nano", "model.mixer=lru", "model.position=none"],
    "spans": ["tiny", "+span-corruption", "model.width=48", "model.mixer.heads=3"],
    "bfloat16": ["nano", "train.weights=bfloat16"],
    # What is drawn in a constructor, after linear maps that are on the meta device.
    "codebooks": ["nano", "model.mixer=vq", "model.position=none"],
    "kernels": ["nano", "model.position=kerple", "model.mixer.gate=heads"],
    "relative": ["nano", "model.position=relative"],
}


def rank(number: int, count: int, store: str) -> None:
    """In one of the processes: compare every weight."""
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{store}", rank=number, world_size=count)
    for name, words in CASES.items():
        experiment = resolve(words)
        objective = objective_of(experiment, outlined(experiment))

        def make(experiment=experiment, objective=objective):
            torch.manual_seed(3)
            return initial(experiment, objective, "float32")

        group = Processes(number, count, torch.device("cpu"))
        model, _ = distribute(make, "fsdp", group, "float32")
        whole = make().state_dict()
        for key, tensor in model.state_dict().items():
            full = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
            assert torch.equal(full, whole[key]), f"{name}: {key}"
            if full.shape and full.shape[0] > 1 and hasattr(tensor, "to_local"):
                assert tensor.to_local().numel() < full.numel(), f"{name}: {key} is not sharded"
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_start_with_the_weights_of_one(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen(
            [sys.executable, __file__, str(number), "2", str(tmp_path / "store")],
            env=environment, stderr=subprocess.PIPE, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
    told = [process.communicate(timeout=LIMIT)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], told


def test_on_meta_are_the_large_weights_alone() -> None:
    with weights_on_meta():
        model = build(resolve("nano").model, 257, 64)
    kinds = {
        type(module).__name__ for module in model.modules() for p in module.parameters(False) if p.is_meta
    }
    assert kinds == {"Linear", "Embedding"}
    assert not build(resolve("nano").model, 257, 64).readout.weight.is_meta


if __name__ == "__main__":
    rank(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
