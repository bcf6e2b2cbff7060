"""Which processes stand together, and what a process does of an update there."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from danlu.spec import Mesh
from danlu.train.mesh import AXES, axes_of, sizes_of, together
from danlu.train.parallel import Processes

fake = pytest.importorskip("torch.testing._internal.distributed.fake_pg")


def test_each_axis_divides_all_processes() -> None:
    sizes = sizes_of(Mesh(tensor=2, pipeline=2, context=2, replicate=2), 32)
    assert list(sizes.values()) == [2] * 5 and tuple(sizes) == AXES
    for name in AXES:
        lists = together(sizes, [name])
        assert sorted(number for numbers in lists for number in numbers) == list(range(32))
        assert {len(numbers) for numbers in lists} == {2}
    assert together(sizes, ["tensor"])[0] == [0, 1] and together(sizes, ["pipeline"])[0] == [0, 16]
    assert together(sizes, AXES) == [list(range(32))]


@pytest.mark.parametrize("rank", [0, 5, 7])
def test_processes_know_rows_shards_and_streams_apart(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight: two replicas, of two parts of the rows, which two compute together."""
    dist.init_process_group("fake", store=fake.FakeStore(), rank=rank, world_size=8)
    try:
        group = Processes(rank, 8, torch.device("cpu"), axes_of(Mesh(replicate=2, tensor=2), "cpu"))
        assert (group.data.rank, group.data.count) == (rank // 2, 4)
        assert (group.shard.rank, group.shard.count) == (rank % 4, 4)
        assert group.stream == rank // 2 and group.share_of_loss == 4
        assert group.axes is not None and group.axes.mesh.mesh_dim_names == ("replicate", "shard")
        assert (group.axes.rows.count, group.axes.stage.count, group.axes.tensor.rank) == (4, 8, rank % 2)
        asked: list[int] = []
        monkeypatch.setattr(
            dist, "all_reduce", lambda t, group=None: asked.append(dist.get_world_size(group))
        )
        for sums in (group.sum, group.sum_of_rows, group.sum_of_shards):
            sums(torch.zeros(()))
        assert asked == [8, 4, 4]
    finally:
        dist.destroy_process_group()
