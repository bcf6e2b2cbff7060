"""What a mesh makes of a number of processes."""

from __future__ import annotations

import pytest

from danlu.spec import Mesh, resolve
from danlu.spec.errors import SpecError


@pytest.mark.parametrize(
    ("mesh", "processes", "data"),
    [({}, 1, 1), ({}, 6, 6), ({"tensor": 2}, 6, 3), ({"tensor": 2, "context": 2, "pipeline": 2}, 8, 1),
     ({"replicate": 2}, 4, 4), ({"replicate": 2, "tensor": 2}, 8, 4)],
)  # fmt: skip
def test_what_is_left_is_data_parallel(mesh: dict[str, int], processes: int, data: int) -> None:
    assert Mesh(**mesh).data(processes) == data


@pytest.mark.parametrize(
    ("mesh", "processes", "said"),
    [({"tensor": 2}, 3, "tensor = 2 takes a multiple of 2 processes, and there are 3"),
     ({"tensor": 2, "pipeline": 3}, 1, "= 2 · pipeline = 3 takes a multiple of 6 processes, and there is 1"),
     ({"replicate": 4}, 6, "replicate = 4 does not divide the 6 data parallel of 6 processes"),
     ({"replicate": 4, "tensor": 2}, 4, "does not divide the 2 data parallel of 4")],
)  # fmt: skip
def test_what_does_not_divide_is_told(mesh: dict[str, int], processes: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Mesh(**mesh).data(processes)


@pytest.mark.parametrize(
    ("words", "said"),
    [(["nano"], "tensor = 3 does not divide model.mixer.heads = 4"),
     (["nano", "model.mixer={heads: 6, kv_heads: 2}", "model.width=96"], "divide model.mixer.kv_heads = 2"),
     (["nano", "model.mixer={kind: lru, state: 8}", "model.position=none"], "divide model.mixer.state = 8"),
     (["siren-chirp"], "model.kind = siren has none")],
)  # fmt: skip
def test_layers_that_cannot_be_divided_are_told(words: list[str], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        resolve([*words, "train.mesh.tensor=3"])


def test_whole_gradients_are_not_scattered() -> None:
    assert resolve(["nano", "train.parallel=fsdp", "gradient_sync=pass"]).train.gradient_sync == "pass"
    with pytest.raises(SpecError, match=r"ddp has whole ones; set train.parallel = fsdp, or leave"):
        resolve(["nano", "train.gradient_sync=pass"])
    with pytest.raises(SpecError, match=r"pipeline = 2 does not go with train\.gradient_sync = pass"):
        resolve(["nano", "train.parallel=fsdp", "gradient_sync=pass", "pipeline=2", "microbatch=1"])


def test_replicas_are_of_shards() -> None:
    assert resolve(["nano", "train.parallel=fsdp", "train.mesh.replicate=2"]).train.mesh.replicate == 2
    with pytest.raises(SpecError, match="replicas alone; set train"):
        resolve(["nano", "train.mesh.replicate=2"])
