"""Networks with a bottleneck train, resume and are told apart, on text and on images."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.spec import resolve
from danlu.train.errors import RunError
from tests.train import small
from tests.train.test_resume import dies_and_goes_on

RUN = ["train.steps=8", "train.log_every=1", "train.evaluate_every=4", "train.checkpoint_every=2"]
RUN += ["optimizer=adamw", "train.compile=false"]
VQ = "model.bottleneck={kind: vq, size: 4, codes: 8, restart: 0.5}"
GUMBEL = "model.bottleneck={kind: gumbel, groups: 2, codes: 4}"
VIB = "model.bottleneck={kind: gaussian, size: 4, beta: 0.01}"
DIGITS = ["digits", "model.layers=1", "model.width=16", "train.device=cpu", "train.precision=float32"]


def words(tmp_path: Path, on: str, bottleneck: str) -> list[str]:
    base = DIGITS if on == "digits" else small.words(small.corpus(tmp_path), "train.evaluate_tokens=400")
    return [*base, *RUN, bottleneck]


@pytest.mark.parametrize("on", ["text", "digits"])
@pytest.mark.parametrize("bottleneck", [VQ, GUMBEL, VIB], ids=["vq", "gumbel", "vib"])
def test_a_run_resumes_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on: str, bottleneck: str
) -> None:
    experiment = resolve(words(tmp_path, on, bottleneck))
    small.go(experiment, tmp_path / "whole")
    told = small.rows(tmp_path / "whole")[-1]
    names = {VQ: {"code_perplexity"}, GUMBEL: {"code_perplexity", "bottleneck_nats"}}
    of_gaussian = {"active_units", "bottleneck_nats", "information", "information_cap"}
    assert names.get(bottleneck, of_gaussian) <= told.keys()
    dies_and_goes_on(experiment, tmp_path / "cut", monkeypatch)
    small.assert_same(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize("bottleneck", [VQ, GUMBEL, VIB], ids=["vq", "gumbel", "vib"])
def test_accumulation_changes_nothing(tmp_path: Path, bottleneck: str) -> None:
    given = words(tmp_path, "text", bottleneck)
    for micro in (8, 2):
        small.go(resolve([*given, f"train.microbatch={micro}"]), tmp_path / str(micro))
    small.close(small.losses(tmp_path / "8"), small.losses(tmp_path / "2"), 1e-4)


@pytest.mark.parametrize("bottleneck", ["{kind: gaussian, free_nats: 0.1}", "lfq"])
def test_what_is_not_additive_is_refused_under_accumulation(tmp_path: Path, bottleneck: str) -> None:
    given = words(tmp_path, "text", f"model.bottleneck={bottleneck}")
    with pytest.raises(RunError, match="a term of the loss spans the whole batch"):
        small.go(resolve([*given, "train.microbatch=2"]), tmp_path / "run")
