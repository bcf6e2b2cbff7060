"""The profile's numbers agree with what can be known without a clock."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from danlu import data
from danlu.models import build
from danlu.spec import resolve
from danlu.train.errors import RunError
from danlu.train.profile import Traffic, profile
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
    torch.set_num_threads(1)
    experiment = resolve(small.words(small.corpus(tmp_path), "train.microbatch=4"))
    found = profile(experiment, steps=3)
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
