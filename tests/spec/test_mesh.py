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


def test_replicas_are_of_shards() -> None:
    assert resolve(["nano", "train.parallel=fsdp", "train.mesh.replicate=2"]).train.mesh.replicate == 2
    with pytest.raises(SpecError, match="replicas alone; set train"):
        resolve(["nano", "train.mesh.replicate=2"])
