"""Rounds of workers come from the experiment; the machine that is here is measured."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from danlu.planning import Layout, Rounds, simulate, step
from danlu.spec import resolve
from danlu.spec.devices import device
from danlu.spec.outer import DiLoCo
from danlu.train import here as here_
from danlu.train.demand import demand_of
from danlu.train.mesh_plan import LINKS, _rounds


def test_rounds_are_those_of_the_workers() -> None:
    demand = demand_of(resolve(["tiny", "optimizer=adamw"]), device("h100"))
    made = step(demand, Layout(), device("h100"))
    outer = DiLoCo(workers=4, every=60, fragments=3, delay=1, bits=4)
    experiment: Any = SimpleNamespace(train=SimpleNamespace(outer=outer))
    found = _rounds(experiment, demand, made)
    assert found is not None
    assert found["sent"] == 2 * demand.parameters / 2 * 3 / 4  # half a byte a number, by a ring of four
    assert found["step"] == sum(made.seconds) / 2
    assert [one["bits_per_second"] for one in found["links"]] == list(LINKS)
    same = Rounds(4, demand.parameters, found["step"], every=60, fragments=3, delay=1, bits=4)
    assert found["links"][2]["utilisation"] == simulate(same, LINKS[2] / 8).utilisation
    experiment.train.outer = None
    assert _rounds(experiment, demand, made) is None


def test_this_machine_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"float32": 1e11, "bfloat16": 4e11}
    monkeypatch.setattr(here_, "ceiling", lambda place, precision: rates[precision])
    monkeypatch.setattr(here_, "bandwidth", lambda place: 2e10)
    monkeypatch.setattr(here_, "fast_bfloat16", lambda place: True)
    monkeypatch.setattr(here_, "pick_device", lambda wanted: torch.device("cpu"))
    found = here_.here()
    assert found.peak == rates and found.bandwidth == 2e10 and found.processor == "cpu"
    assert (found.machine, found.network) == (1, None)
    demand = demand_of(resolve(["tiny", "optimizer=adamw"]), found)
    assert demand.precision == "bfloat16"
    low, high = found.reached
    fast, slow = step(demand, Layout(rows=demand.batch), found).seconds
    assert slow / fast == pytest.approx(high / low)
