"""The lab on what is neither text nor classes: flows, diffusion, autoencoders and coordinates go through
``try``, the ledger and ``sweep`` as others do."""

from __future__ import annotations

import math
from typing import Any

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("PIL")

FEW = "train.steps=6 train.batch=16 train.evaluate_every=3 train.evaluate_tokens=64 train.precision=float32"
CASES = {
    "flow": (f"flow-8gaussians {FEW} objective.samples=32", "ot-coupling", "energy_distance"),
    "denoise": (f"denoise-8gaussians {FEW} objective.samples=32", "pfgm", "energy_distance"),
    "autoencode": (
        f"vae-digits {FEW} objective.judge=energy objective.samples=32 objective.draws=2 model.width=16",
        "objective.bottleneck.beta=4",
        "bits_per_dimension",
    ),
    "fit": (f"siren-photograph {FEW} data.pixels=16 model.width=16", "relu-coordinates", "psnr"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", CASES)
def test_an_idea_is_tried_written_down_and_a_rate_swept(danlu: Any, kind: str) -> None:
    words, idea, metric = CASES[kind]
    found = danlu("try", idea, "--on", words, "--seeds", "2", "--tune", "none")
    assert [one["at"] for one in found] == ["steps", "flops", "time"]
    for one in found:
        assert one["metric"] == metric and one["better"] == ("higher" if metric == "psnr" else "lower")
        if one["verdict"] == "not measured":  # where this machine is busy
            assert one["at"] == "time"
            continue
        low, high = one["interval"]
        assert one["verdict"] in ("better", "worse", "not shown") and low <= one["difference"] <= high
    (entry,) = (entry for entry in danlu("ledger", "all") if entry["at"] == "equal steps")
    assert (entry["verdict"], entry["idea"], entry["seeds"]) == (found[0]["verdict"], found[0]["idea"], 2)
    assert entry["effect"] == pytest.approx(found[0]["difference"], rel=1e-4)

    swept = danlu("sweep", *words.split(), "optimizer.lr=1e-4,1e-3")
    assert (swept["metric"], swept["fields"]) == (metric, ["optimizer.lr"])
    values = [trial["value"] for trial in swept["trials"]]
    assert len(values) == 2 and all(map(math.isfinite, values)) and swept["counts"]["failed"] == 0
    assert values == sorted(values, reverse=swept["better"] == "higher")
    assert {trial["point"]["optimizer.lr"] for trial in swept["trials"]} == {1e-4, 1e-3}
