"""All meshes are tried, each once; those that fit come first, the fastest of them first."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from danlu.draw.phrases import chinese
from danlu.planning import Layout, best, layouts
from danlu.planning.best import attempt, divisors
from tests.chinese import left, numbers
from tests.planning.small import DEMAND, DEVICE


@pytest.mark.parametrize("devices", [1, 2, 4, 8, 12, 64])
def test_all_meshes_once(devices):
    found = list(layouts(devices, 4))
    assert len(set(found)) == len(found)
    assert all(one.devices == devices and one.tensor * one.context <= 4 for one in found)
    plain = {(one.pipeline, one.replicate, one.context, one.tensor) for one in found if not one.sharded}
    wanted = {
        (p, r, c, t)
        for p, r, c, t in product(divisors(devices), repeat=4)
        if p * r * c * t == devices and c * t <= 4
    }
    assert plain == wanted
    # Replicas of shards are whole machines.
    assert all(
        one.shard * one.context * one.tensor % 4 == 0 for one in found if one.sharded and one.replicate > 1
    )


def test_the_fastest_that_fits_is_first():
    found = best(DEMAND, 8, DEVICE)
    fits = [one for one in found if one.why is None]
    assert found[: len(fits)] == fits and all(one.why for one in found[len(fits) :])
    times = [one.step.seconds[1] for one in fits if one.step]
    assert times == sorted(times) and len(times) == len(fits) > 3


def test_what_does_not_fit_says_how_much_it_takes():
    # The context alone takes 1.5 GB; of a device with a little more only shards fit.
    room = DEVICE.model_copy(update={"memory": 1.5e9 + 1.05 * 75_000})
    found = best(DEMAND, 4, room, rows=1)
    fits = [one.layout for one in found if one.why is None]
    assert fits and all(one.sharded or one.pipeline > 1 for one in fits)
    ddp = next(one for one in found if one.layout.replicate == 4 and not one.layout.sharded)
    assert ddp.why is not None and "GB" in ddp.why


def test_gradients_are_scattered_after_each_pass_where_they_do_not_fit_whole():
    """Of a batch of which no device holds its part at once. Else once, which sends less."""
    one = Layout(shard=4, sharded=True)
    plenty = attempt(DEMAND, one, DEVICE, 2, None, (True, False))
    assert plenty.why is None and plenty.layout.held and plenty.step.traffic
    assert attempt(DEMAND, one, DEVICE, 8, None, (True, False)).layout.held  # in one pass
    needed = plenty.step.memory.total - 1
    short = DEVICE.model_copy(update={"memory": needed})
    found = attempt(DEMAND, one, short, 2, None, (True, False))
    assert found.why is None and not found.layout.held and found.step.memory.total < needed
    assert found.step.seconds[0] > plenty.step.seconds[0]
    assert attempt(DEMAND, one, short, 2, None).why is not None
    # The words of an experiment say which; stages sum once.
    assert not attempt(DEMAND, replace(one, held=False), DEVICE, 2, None).layout.held
    staged = attempt(DEMAND, replace(one, pipeline=2, shard=2), DEVICE, 2, None, (False, True))
    assert staged.layout.held


def test_rows_are_those_asked_for():
    assert {one.layout.rows for one in best(DEMAND, 4, DEVICE, rows=2) if one.step} == {2}


def test_each_reason_has_its_chinese():
    odd, wide = (replace(DEMAND, heads=n, keys=n, units=65) for n in (3, 12))
    alone = DEVICE.model_copy(update={"network": None})
    tight = DEVICE.model_copy(update={"memory": 1.5e9})
    tries = [(odd, DEVICE, 4), (wide, DEVICE, 4), (replace(DEMAND, batch=2), DEVICE, 8), (DEMAND, alone, 8),
             (DEMAND, tight, 8)]  # fmt: skip
    why = {one.why for demand, device, n in tries for one in best(demand, n, device) if one.why}
    ends = ("heads", "positions", "layers", "passes", "parts", "its network", "it takes")
    assert [end for end in ends if not any(end in one for one in why)] == []
    for one in why:
        assert left([chinese(one)]) == [] and numbers(chinese(one)) == numbers(one)
