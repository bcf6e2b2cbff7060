"""What may differ between networks that are trained as one batch of networks, and what may not."""

from __future__ import annotations

import pytest

from danlu.spec import graph_key, resolve

NUMBERS = [
    "train.seed=3", "train.clip=0.5", "optimizer.lr=1e-3", "optimizer.weight_decay=0.2",
    "optimizer.beta1=0.8", "optimizer.eps=1e-6", "schedule.warmup=5 steps", "schedule.floor=0",
    "model.init.std=0.1", "model.init.embedding=1", "model.init.readout=0",
    "vary=[{setting: beta2, start: 0.9}]",
]  # fmt: skip
OTHERS = [
    "train.steps=299", "train.batch=4", "train.precision=bfloat16", "train.evaluate_every=7",
    "train.evaluate_tokens=400", "train.log_every=3", "train.device=cpu", "train.clip=0", "data.context=32",
    "model.width=32", "model.dropout=0.1", "model.init.branch=zero", "optimizer=lion",
    "optimizer.weight_decay=0", "optimizer.state=bfloat16", "schedule=wsd", "+swiglu",
]  # fmt: skip
VARIED = "vary=[{setting: beta2, start: 0.5, pieces: [{to: 0.9, until: 3 steps}]}]"


def key(*words: str) -> str | None:
    return graph_key(resolve(["nano", *words]))


@pytest.mark.parametrize("word", NUMBERS)
def test_numbers_of_a_network_s_own_may_differ(word: str) -> None:
    before = ["vary=[{setting: beta2, start: 0.5}]"] if word.startswith("vary") else []
    assert key(*before) == key(*before, word) is not None
    assert resolve(["nano", *before]) != resolve(["nano", *before, word])


@pytest.mark.parametrize("word", OTHERS)
def test_the_graph_and_its_times_may_not(word: str) -> None:
    assert key() != key(word) is not None


def test_a_setting_that_varies_keeps_its_course() -> None:
    assert key(VARIED) == key(VARIED.replace("0.9", "0.8").replace("3 steps", "0.5"))
    assert len({key(), key(VARIED), key(VARIED.replace("beta2", "beta1"))}) == 3


def test_a_run_that_seconds_bound_is_alone() -> None:
    assert key("train.seconds=9") is None
    assert key("train.seconds=9", "train.steps=3") is None
