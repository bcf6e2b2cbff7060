"""The profile's numbers agree with what can be known without a clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from danlu import data
from danlu.models import build
from danlu.spec import resolve
from danlu.train.errors import RunError
from danlu.train.profile import Traffic, profile
from danlu.train.roofline import OUTSIDE
from danlu.train.roofline_page import page, told
from tests.conftest import ROOT
from tests.train import small


def test_traffic_counts_what_operators_read_and_write() -> None:
    a, b = torch.ones(4, 8), torch.ones(8, 2)
    with Traffic() as traffic:
        a @ b
    assert traffic.bytes == 4 * (4 * 8 + 8 * 2 + 4 * 2)
    with Traffic() as traffic:
        a.t().view(2, 4, 4)  # views move nothing
    assert traffic.bytes == 0


def test_the_parts_and_the_roofline(tmp_path: Path) -> None:
    experiment = resolve(small.words(small.corpus(tmp_path), "train.microbatch=4"))
    found = profile(experiment, steps=3)
    assert found is not None
    assert set(found["seconds"]) == {"data", "forward", "backward", "optimizer"}
    whole = sum(found["seconds"].values())
    assert found["bottleneck"] == max(found["seconds"], key=lambda part: found["seconds"][part])
    dataset = data.prepare(experiment.data)
    model = build(experiment.model, dataset.tokenizer.vocabulary, 16)
    assert found["flops"] == 3 * model.flops(8, 16)  # of an update, in two passes
    assert found["tokens_per_second"] == pytest.approx(8 * 16 / whole)
    assert found["intensity"] == found["flops"] / found["bytes"]
    assert found["utilisation"] == pytest.approx(found["flops"] / whole / found["ceiling"])
    balance = found["ceiling"] / found["bandwidth"]
    assert found["bound"] == ("compute" if found["intensity"] > balance else "memory")
    assert (found["precision"], found["device"]) == ("float32", "cpu")
    assert [row["mixer"] for row in found["kernels"]] == ["Attention"]
    shares = [entry["share"] for entry in found["operators"]]
    assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1 + 1e-9


def test_what_cannot_be_profiled_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    corpus = small.corpus(tmp_path)
    with pytest.raises(RunError, match=r"train\.device = cuda"):
        profile(resolve(small.words(corpus, "train.device=cuda")), steps=1)


@pytest.mark.parametrize(
    "more", [[], pytest.param(["+mla", "model.feed_forward=glu"], marks=pytest.mark.slow)]
)
def test_parts_add_up(tmp_path: Path, more: list[str]) -> None:
    """All products of an update are some part's. The optimizer reads and writes every weight and moment."""
    experiment = resolve(small.words(small.corpus(tmp_path), "optimizer=adamw", *more))
    found = profile(experiment, steps=1)
    assert found is not None
    parts = {part["part"]: part for part in found["parts"]}
    assert {"mixer", "feed-forward", "norms and gains", "readout", "optimizer", OUTSIDE} <= set(parts)
    assert sum(part["flops"] for part in parts.values()) == found["flops"]
    assert parts["optimizer"]["flops"] == 0
    dataset = data.prepare(experiment.data)
    count = sum(p.numel() for p in build(experiment.model, dataset.tokenizer.vocabulary, 16).parameters())
    assert parts["optimizer"]["bytes"] >= 4 * 4 * count  # parameters, gradients, two moments
    assert all(part["seconds"] > 0 for part in parts.values())


def test_the_roofline_is_drawn(tmp_path: Path) -> None:
    part = {"part": "mixer", "seconds": 1e-3, "flops": 10**9, "bytes": 10**7}
    norm = {"part": "norms", "seconds": 1e-3, "flops": 0, "bytes": 10**7}
    found = {
        "seconds": {"forward": 2e-3, "backward": 3e-3}, "ceiling": 4e12, "bandwidth": 2e10, "intensity": 50.0,
        "flops": 10**9, "utilisation": 0.1, "precision": "float32", "device": "cpu", "parts": [part, norm],
    }  # fmt: skip
    assert told(part, found) == "50% of its roof, memory-bound"  # 100 FLOP/byte times 20 GB/s are 2 TFLOP/s
    assert told(norm, found) == "moves 50% of a copy's bytes a second"
    text = page(found, "a profile")
    assert "Without products: norms." in text and "mixer" in text and text.count("<svg") == 1


@pytest.mark.slow
def test_two_processes_say_what_they_say(tmp_path: Path) -> None:
    """DDP hands in every gradient once."""
    words = small.words(small.corpus(tmp_path), "optimizer=adamw")
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*launched, "-m", "danlu", "--", "profile", *words, "--steps", "1", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    kinds = {one["kind"]: one for one in found["communication"]}
    dataset = data.prepare(resolve(words).data)
    count = sum(p.numel() for p in build(resolve(words).model, dataset.tokenizer.vocabulary, 16).parameters())
    assert found["processes"] == 2 and found["parts"] == []
    assert 4 * count <= kinds["all_reduce"]["bytes"] <= 4 * count + 64  # and the loss
    assert kinds["all_reduce"]["calls"] >= 2 and kinds["all_reduce"]["seconds"] > 0
