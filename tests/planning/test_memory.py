"""Bytes by hand, and what more devices, more rows and recomputing change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from danlu.planning import Layout, memory
from danlu.planning.memory import CONTEXT, FRAGMENTS, fewest, stage
from tests.planning.small import DEMAND


def test_one_device_by_hand():
    found = memory(DEMAND, Layout(rows=2))
    assert (found.weights, found.gradients, found.optimizer) == (20_000, 20_000, 40_000)
    assert found.copies == 10_000 and found.gathered == 0
    assert found.activations == 2 * (4 * 9000 + 700) and found.logits == 200
    assert found.counted == 90_000 + 73_400 + 200
    assert found.total == pytest.approx(found.counted * (1 + FRAGMENTS) + CONTEXT)


def test_ddp_holds_all_and_nothing_beside():
    one, many = memory(DEMAND, Layout()), memory(DEMAND, Layout(replicate=8))
    assert (many.weights, many.optimizer) == (one.weights, one.optimizer)
    assert many.gathered == 0 and many.gradients == 4 * 5000


def test_fsdp_by_hand():
    found = memory(DEMAND, Layout(shard=8, sharded=True, rows=4))
    assert (found.weights, found.gradients, found.optimizer) == (2500, 2500, 5000)
    assert found.copies == 0
    # The ends and two blocks in 16 bits; the larger unit's gradients in 16 and in 32.
    assert found.gathered == 2 * (1000 + 2000) + 6 * 1000
    # Two passes: whole gradients in 32 bits are kept between them, unless they are divided after each.
    twice = Layout(shard=8, sharded=True, rows=2)
    assert memory(DEMAND, twice).gathered == found.gathered + 4 * 5000
    assert memory(DEMAND, replace(twice, held=False)).gathered == found.gathered
    # Hybrid: shards within each of two replicas.
    hybrid = memory(DEMAND, Layout(replicate=2, shard=4, sharded=True))
    assert hybrid.weights == 5000


def test_tensor_and_context_by_hand():
    found = memory(DEMAND, Layout(tensor=2))
    assert found.activations == 4 * (3000 + 6000 / 2) + 350 and found.logits == 50
    assert found.copies == 5000
    assert found.weights == 20_000 and memory(DEMAND, Layout(tensor=2, split=True)).weights == 10_000
    found = memory(DEMAND, Layout(context=4))
    assert found.activations == (4 * 9000 + 700) / 4 and found.logits == 25


def test_stages_have_all_layers_once():
    for stages in (1, 2, 3, 4):
        layout = Layout(pipeline=stages)
        blocks = [i for which in range(stages) for i in stage(DEMAND, layout, which)[0]]
        assert blocks == [0, 1, 2, 3]
        ends = sum(stage(DEMAND, layout, which)[1] for which in range(stages))
        assert ends == 1000
    # The first stage holds as many passes as there are stages, if there are so many; the last has the logits.
    found = memory(DEMAND, Layout(pipeline=2, rows=2))
    assert found.weights == 4 * 2500
    assert found.activations == 2 * 2 * 2 * 9000 and found.logits == 0
    # Of tied ends, both have all.
    tied = replace(DEMAND, shared=500)
    assert tied.parameters == 4500 and sum(stage(tied, Layout(pipeline=2), i)[1] for i in (0, 1)) == 1000


def test_sharded_stages_have_all_their_weights_gathered():
    layout = Layout(pipeline=2, shard=2, sharded=True, rows=4)
    found = memory(DEMAND, layout)
    assert found.weights == 4 * 2500 / 2  # of two blocks and an end
    assert found.gathered == 2 * 2500 + 6 * 1000 + 4 * 2500  # and whole gradients of four passes


def test_recomputing_keeps_inputs_and_one_block():
    found = memory(replace(DEMAND, recompute=True), Layout())
    assert found.activations == 4 * 640 + 9000 + 700


@pytest.mark.parametrize(
    "layout", [Layout(), Layout(shard=2, sharded=True), Layout(pipeline=2), Layout(tensor=2)]
)
def test_more_rows_take_more_and_more_shards_less(layout):
    few = memory(DEMAND, replace(layout, rows=1))
    assert memory(DEMAND, replace(layout, rows=2)).activations > few.activations
    wide = memory(DEMAND, replace(layout, shard=layout.shard * 4, sharded=True))
    assert wide.weights <= few.weights and wide.optimizer <= few.optimizer


def test_the_fewest_hold_what_must_be_held():
    held = 2 * 4 * 5000 + 8 * 5000
    assert fewest(DEMAND, CONTEXT + held) == 1
    assert fewest(DEMAND, CONTEXT + held / 3) == 3


def test_logits_in_parts_keep_less():
    demand = replace(DEMAND, parts=4, outside_in_parts=70, part=50)
    whole, parts = (memory(demand, Layout(rows=rows)) for rows in (2, 4))
    assert whole == memory(DEMAND, Layout(rows=2))
    assert parts.activations == 4 * (4 * 9000 + 70) and parts.logits == 50
    # Where positions are divided, fewer are at one device.
    assert memory(demand, Layout(rows=4, context=2)).logits == 200
    # Of shared logits, and of those of a pipeline's last stage, there are no parts.
    for whole in (Layout(rows=4, tensor=2), Layout(rows=4, pipeline=2)):
        assert memory(demand, whole) == memory(DEMAND, whole)
