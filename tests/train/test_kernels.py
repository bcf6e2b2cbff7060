"""The report on kernels says what runs: the choice is that of a real pass."""

from __future__ import annotations

import pytest
import torch

from danlu import data, objectives
from danlu.models import build
from danlu.nn import flex, kernels
from danlu.nn.fused import META
from danlu.spec import resolve
from danlu.train.assemble import outlined
from danlu.train.kernels import report, try_flex

PLAIN = ("model.layers=2", "model.width=16", "train.device=cpu", "train.precision=float32", "data.context=24")
CASES = {
    "tiny": [],
    "window": ["+window", "model.mixer.window=5"],
    "softcap": ["model.mixer.softcap=5"],
    "softmax1": ["model.mixer.weights=softmax1"],
    "bias": ["+t5-bias"],
    "alibi": ["+alibi"],
    "rerope": ["+rerope", "model.position.window=6", "model.mixer.qk_norm=none"],
    "mla": ["+mla"],
    "documents": ["data.documents=separate"],
    "prefix": ["+prefix-lm", "objective.length=5"],
    "masked": ["+masked-lm"],
    "spans": ["+span-corruption"],
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_said_is_what_runs(case, monkeypatch):
    experiment = resolve(["tiny", *CASES[case], *PLAIN])
    said = report(experiment)
    ran = []
    real = kernels.choose

    def spy(*given, **more):
        choice = real(*given, **more)
        ran.append((choice.kernel, "needs" in more and more["needs"] is not None, more.get("masked", False)))
        return choice

    monkeypatch.setattr(kernels, "choose", spy)
    tokenizer = data.tokenizers.Bytes()
    objective = objectives.build(experiment.objective, outlined(experiment))
    model = build(experiment.model, *objective.inputs)
    text = torch.randint(256, (2, 25)).numpy()
    text[:, 10] = tokenizer.separator
    example = objective.make(text[:, :-1], text[:, 1:], objectives.training_keys(0, 0, 0, 2))
    objective.loss(model, {name: torch.from_numpy(array) for name, array in example.items()})
    assert sorted(kernel for kernel, *_ in ran) == sorted(r["kernel"] for r in said for _ in r["layers"])
    assert sum(needed for _, needed, _ in ran) == sum(len(r["layers"]) for r in said if r["needs"])
    if not any(row["needs"] for row in said):
        assert sum(masked for *_, masked in ran) == sum(len(r["layers"]) for r in said if "mask" in r["why"])


def test_layers_that_run_alike_are_one_group():
    said = report(resolve(["tiny", "+lru-attention", "train.device=cpu"]))
    assert [(row["mixer"], row["layers"]) for row in said] == [("LRU", [0, 1, 3]), ("Attention", [2])]
    assert said[0]["measured"] is None and "linear" in said[0]["why"]
    assert set(said[1]["measured"]) == {"length", "sdpa", "plain", "eager"}
    assert said[1]["measured"]["length"] in (row.length for row in kernels.MEASURED["cpu", "float32", False])


def test_the_part_that_forbids_the_fast_kernel_is_named():
    (row,) = report(resolve(["tiny", "model.mixer.softcap=20", "train.device=cpu"]))
    assert (row["kernel"], row["needs"]) == ("eager", "softcap")
    assert row["why"].startswith("softcap is in no fused kernel")


def test_what_eager_scores_cost_is_said(monkeypatch):
    row = kernels.Measured(128, sdpa=4.0, plain=2.0, eager=5.0)
    monkeypatch.setattr(kernels, "MEASURED", {("cpu", "float32", False): (row,)})
    choice = kernels.choose("cpu", torch.float32, 100, needs="softcap")
    assert (choice.kernel, choice.measured) == ("eager", row)
    assert "2.5 times the time of plain" in choice.why
    choice = kernels.choose("cpu", torch.float32, 100)
    assert (choice.kernel, choice.measured) == ("plain", row)
    assert "2.0 times as fast as sdpa" in choice.why and "at 128 positions" in choice.why


def test_the_meta_device_stands_for_another():
    there = {device: kernels.choose(device, torch.float32, masked=True) for device in ("cpu", "cuda")}
    assert kernels.choose("meta", torch.float32, masked=True) == there["cpu"]
    token = META.set("cuda")
    try:
        assert kernels.choose("meta", torch.float32, masked=True) == there["cuda"]
    finally:
        META.reset(token)


@pytest.mark.parametrize("words", [["+window", "data.context=512"], ["data.context=512"]])
def test_flex_is_tried_where_a_layer_is_to_run_it(words, monkeypatch):
    tried, said = [], []
    monkeypatch.setattr(flex, "try_out", lambda device: tried.append(device.type) or "no such kernel")
    experiment = resolve(["tiny", *words, "train.device=cuda"])
    try_flex(experiment, torch.device("cpu"), said.append)
    assert not tried
    try_flex(experiment, torch.device("cuda"), said.append)
    assert tried == (["cuda"] if "+window" in words else [])
    assert [("no such kernel" in one) for one in said] == [True] * len(tried)
