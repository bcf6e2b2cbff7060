"""Bytes of collectives: by hand, by rings that are played through, and by the rules of thumb for meshes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from danlu.planning import Layout, step
from danlu.planning.traffic import LATENCY, REACHED, Collective, hidden, ring, traffic
from danlu.spec.devices import device
from tests.planning.small import DEMAND, DEVICE


def played(count: int, chunk: int) -> tuple[list[float], int]:
    """A ring's sum of ``count`` pieces of ``chunk`` numbers, and how many numbers each member sent."""
    held = [[float(10 * member + piece) for piece in range(count)] for member in range(count)]
    sent = 0
    for turn in range(2 * (count - 1)):
        out = [(member - turn) % count for member in range(count)]
        values = [held[member][out[member]] for member in range(count)]
        for member in range(count):
            to, piece = (member + 1) % count, out[member]
            held[to][piece] = values[member] + (held[to][piece] if turn < count - 1 else 0)
        sent += chunk
    assert all(row == held[0] for row in held)
    return held[0], sent


@pytest.mark.parametrize("count", [2, 3, 8])
def test_a_ring_sends_what_is_said(count):
    values, sent = played(count, chunk=4)
    assert values == [sum(10 * m + piece for m in range(count)) for piece in range(count)]
    assert sent == 2 * ring(4 * count, count)


def by_kind(layout: Layout, demand=DEMAND) -> dict[tuple[str, str], Collective]:
    return {(one.kind, one.axis): one for one in traffic(demand, layout, DEVICE)}


def test_one_device_says_nothing():
    assert traffic(DEMAND, Layout(), DEVICE) == []


def test_ddp_by_hand():
    (found,) = traffic(DEMAND, Layout(replicate=4), DEVICE)
    assert found.bytes == 2 * 4 * 5000 * 3 / 4 and found.inside == 4
    assert found.seconds(DEVICE) == pytest.approx(30_000 / (REACHED * 1e6) + LATENCY)
    # Over two machines each of four devices has its own network card.
    (wide,) = traffic(DEMAND, Layout(replicate=8), DEVICE)
    assert (wide.count, wide.inside) == (8, 4)
    assert wide.seconds(DEVICE) == pytest.approx(wide.bytes / (REACHED * 4 * 1e5) + LATENCY)


def test_fsdp_by_hand():
    found = by_kind(Layout(shard=4, sharded=True, rows=4))  # two passes
    gather, scatter = found["all_gather", "weights"], found["reduce_scatter", "weights"]
    assert gather.bytes == 2 * 2 * (2 * 4000 + 1000) * 3 / 4 and gather.calls == 2 * (2 * 4 + 1)
    assert scatter.bytes == 4 * 5000 * 3 / 4 and scatter.calls == 5
    assert scatter.beside == pytest.approx(1 / 3)
    again = by_kind(Layout(shard=4, sharded=True, rows=4, held=False))["reduce_scatter", "weights"]
    assert again.bytes == 2 * scatter.bytes
    hybrid = by_kind(Layout(replicate=2, shard=4, sharded=True))
    assert hybrid["all_reduce", "replicate"].bytes == 2 * (4 * 5000 / 4) / 2
    assert hybrid["all_reduce", "replicate"].inside == 1  # one of each machine


def test_tensor_context_pipeline_by_hand():
    # Four sums of the stream a layer and pass, each sent (n − 1)/n twice; here 32 passes of one row.
    found = by_kind(Layout(tensor=4))["all_reduce", "tensor"]
    assert found.calls == 4 * 4 * 32 and found.bytes == found.calls * 2 * 640 * 3 / 4
    assert not found.beside
    again = by_kind(Layout(tensor=4), replace(DEMAND, recompute=True))["all_reduce", "tensor"]
    assert again.calls == 6 * 4 * 32
    # Queries, keys, values and the mixed, there and back: eight a layer and pass of a quarter of the stream.
    found = by_kind(Layout(context=4))["all_to_all", "context"]
    assert found.bytes == 8 * 4 * 32 * (640 / 4) * 3 / 4
    few = by_kind(Layout(context=4), replace(DEMAND, keys=2))["all_to_all", "context"]
    assert few.bytes == found.bytes * (1 + 4 / 8) / 2  # two heads of keys are repeated for four devices
    # Of eight heads each of two has four, and of the two of keys one, which is repeated for two devices.
    few = by_kind(Layout(context=2, tensor=2), replace(DEMAND, keys=2))["all_to_all", "context"]
    assert few.bytes == 8 * 4 * 32 * (640 / 4) * 1 / 2 * (1 + 2 / 4) / 2
    found = by_kind(Layout(pipeline=2))["send", "pipeline"]
    assert found.bytes == 2 * 32 * 640


def test_bytes_of_tensor_parallel_are_four_streams_a_layer():
    """The rule: 4 collectives of batch · positions · width numbers a layer (Megatron-LM, section 3)."""
    width, element = 5, 2
    found = by_kind(Layout(tensor=2, rows=4))["all_reduce", "tensor"]
    assert DEMAND.stream == 64 * width * element
    assert found.bytes == 4 * 4 * 32 * 64 * width * element


def test_fsdp_hides_behind_some_thousand_tokens():
    """8 bytes a parameter and pass behind 6 FLOPs a parameter and token."""
    tokens = 8 / 300e9 * 400e12 / 6
    assert tokens == pytest.approx(1778, rel=0.001)
    big = replace(DEMAND, blocks=(10**9,), first=0, last=0, activations=(0,), outside=0, logits=0, element=2)
    of = replace_device(link=300e9 / REACHED, peak=400e12, bandwidth=1e30)
    for units, shows in ((tokens * 0.9, True), (tokens * 1.3, False)):
        # Weights gathered twice in two bytes, gradients scattered once in four: 8 bytes a parameter.
        demand = replace(big, units=int(units), batch=8, flops=6 * 1e9 * units, forward=2 * 1e9 * units)
        made = step(demand, Layout(shard=8, sharded=True), of)
        whole = sum(one.bytes for one in made.traffic)
        assert whole == pytest.approx(8e9 * 7 / 8)
        busy = sum(one.seconds(of) for one in made.traffic) - LATENCY * sum(o.calls for o in made.traffic)
        assert (busy > made.work.total * 7 / 8) is shows


def replace_device(*, link: float, peak: float, bandwidth: float):
    return device("h100").model_copy(
        update={"link": link, "peak": {"bfloat16": peak}, "bandwidth": bandwidth, "reached": (1.0, 1.0)}
    )


def test_what_fits_beside_work_does_not_show():
    def one(seconds: float, beside: float) -> Collective:
        return Collective("all_reduce", "", "rows", 0, seconds * REACHED * DEVICE.link, 2, 2, beside)

    assert hidden([one(3, 1.0)], 5, DEVICE) == 0
    assert hidden([one(7, 1.0)], 5, DEVICE) == pytest.approx(2)
    assert hidden([one(3, 0.0)], 5, DEVICE) == pytest.approx(3)
    assert hidden([one(3, 0.5), one(2, 1.0)], 5, DEVICE) == pytest.approx(0.5)  # 3 beside 2.5
    assert hidden([one(2, 0.5), one(4, 1.0)], 5, DEVICE) == pytest.approx(1)  # 6 beside 5
