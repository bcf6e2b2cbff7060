"""Time of an update: what it is made of, and how it changes with the mesh."""

from __future__ import annotations

from dataclasses import replace

import pytest

from danlu.planning import Layout, step
from danlu.planning.roofline import TIMES, work
from danlu.spec.errors import SpecError
from tests.planning.small import DEMAND, DEVICE


def test_work_by_hand():
    found = work(DEMAND, Layout(rows=2), DEVICE)  # sixteen passes
    assert found.products == pytest.approx(32 * DEMAND.flops / 1e9)
    moved = TIMES * 32 * (4 * 9000 + 700) + 16 * 5000 * (3 * 2 + 2 * 4)
    assert found.memory == pytest.approx(moved / 1e8)
    assert found.optimizer == pytest.approx((3 * 4 * 5000 + 2 * 8 * 5000) / 1e8)


def test_recomputing_costs_a_forward_pass_of_the_blocks():
    plain, again = (work(replace(DEMAND, recompute=on), Layout(), DEVICE) for on in (False, True))
    assert again.products - plain.products == pytest.approx(32 * DEMAND.forward / 1e9)


@pytest.mark.parametrize("axis", ["replicate", "tensor", "context", "pipeline"])
def test_products_are_divided(axis):
    one = work(replace(DEMAND, first=0, last=0, flops=3 * DEMAND.forward), Layout(), DEVICE)
    two = work(replace(DEMAND, first=0, last=0, flops=3 * DEMAND.forward), Layout(**{axis: 2}), DEVICE)
    assert two.products == pytest.approx(one.products / 2)


def test_the_bubble_of_stages():
    made = step(DEMAND, Layout(pipeline=4, rows=2), DEVICE)
    assert made.bubble == 3 / 16
    fast, _ = made.seconds
    assert fast - made.exposed[0] == pytest.approx(made.work.total * (1 + 3 / 16))


def test_what_follows_from_seconds():
    made = step(DEMAND, Layout(replicate=2), DEVICE)
    fast, slow = made.seconds
    assert fast < slow
    assert made.per_second == (32 * 64 / fast, 32 * 64 / slow)
    assert made.utilisation[0] * fast * 2 * 1e9 == pytest.approx(32 * DEMAND.flops)
    assert made.hours(7200) == pytest.approx((2 * fast, 2 * slow))


def test_a_measured_utilisation_is_what_one_device_reaches():
    made = step(DEMAND, Layout(), DEVICE, mfu=0.3)
    assert made.utilisation == (pytest.approx(0.3), pytest.approx(0.3))
    wide = step(DEMAND, Layout(replicate=8), DEVICE, mfu=0.3)
    assert wide.utilisation[0] < 0.3  # by what is said between machines


def test_faster_links_and_devices_are_never_slower():
    for layout in (Layout(replicate=8), Layout(shard=8, sharded=True), Layout(tensor=4), Layout(context=2)):
        slow = step(DEMAND, layout, DEVICE).seconds
        for change in ({"link": 1e7}, {"network": 1e6}, {"peak": {"bfloat16": 1e10}}, {"bandwidth": 1e9}):
            fast = step(DEMAND, layout, DEVICE.model_copy(update=change)).seconds
            assert all(a <= b for a, b in zip(fast, slow, strict=True))


@pytest.mark.parametrize(
    ("layout", "why"),
    [
        (Layout(replicate=5), "a batch of 32 is not a multiple of 5"),
        (Layout(tensor=3), "tensor = 3 does not divide the 8 heads"),
        (Layout(tensor=8), "tensor = 8 is more than the 4 devices of a machine"),
        (Layout(context=16), "context = 16 does not divide the 8 heads"),
        (Layout(pipeline=2, rows=32), "pipeline = 2 takes as many passes, and an update has 1"),
        (Layout(pipeline=8), "pipeline = 8 is more than the 4 layers"),
    ],
)
def test_what_cannot_be_says_why(layout, why):
    with pytest.raises(SpecError, match=why):
        step(DEMAND, layout, DEVICE)


@pytest.mark.parametrize(
    ("layout", "axis"),
    [(Layout(tensor=2), "tensor"), (Layout(tensor=2, context=2), "tensor"), (Layout(context=2), "context")],
)
def test_a_single_head_is_not_dealt_out(layout, axis):
    with pytest.raises(SpecError, match=f"{axis} = 2 deals out heads, and a layer has one head or none"):
        step(replace(DEMAND, heads=1), layout, DEVICE)


def test_positions_are_divided_evenly():
    with pytest.raises(SpecError, match="context = 8 does not divide 60 positions"):
        step(replace(DEMAND, units=60), Layout(context=8), DEVICE)


def test_without_a_network_there_is_one_machine():
    with pytest.raises(SpecError, match="no published network"):
        step(DEMAND, Layout(replicate=8), DEVICE.model_copy(update={"network": None}))
