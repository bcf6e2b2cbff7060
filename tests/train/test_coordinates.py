"""The coordinate check: in muP no activation's change grows or vanishes with the width."""

from __future__ import annotations

import pytest

from danlu import spec
from danlu.spec import resolve
from danlu.train.coordinates import at_width, coordinate_check, slopes

WIDTHS = (32, 64, 128, 256)
BOUND = 0.25  # of the slopes: an eightfold width changes no activation's move by more than 1.7 times
MUP = ["tiny", "model.layers=2", "model.base_width=32", "data.context=16", "train.batch=4"]


@pytest.mark.parametrize(
    ("optimizer", "starts"),
    [
        ("{kind: adamw, lr: 3e-3}", "zero same"),
        ("{kind: schedule-free}", "zero same"),
        ("{kind: lion, lr: 1e-3}", "zero same"),
        ("{kind: tiger, lr: 0.01}", "zero same"),
        ("{kind: adafactor, lr: 0.03}", "zero same"),
        ("{kind: muon, lr: 0.03}", "zero same"),
        ("{kind: muon, lr: 3e-3, scale: rms}", "zero same"),
        ("{kind: lamb, lr: 0.01}", "same"),  # a tensor of zeros takes the bare rate
        ("{kind: sgd, lr: 0.03}", "same"),  # from zero the gradient's noise still shows at these widths
    ],
)
def test_in_mup_nothing_grows_or_vanishes(optimizer, starts):
    for start in starts.split():
        _check(optimizer, start)


def _check(optimizer, start):
    experiment = resolve([*MUP, f"optimizer={optimizer}", f"model.init.branch={start}"])
    found = slopes(coordinate_check(experiment, WIDTHS, 4, seeds=2))
    assert {"embedding", "blocks.0", "blocks.1.mixer", "blocks.1.feed_forward", "logits"} <= found.keys()
    assert all(abs(slope) <= BOUND for slope in found.values()), found


def test_in_the_standard_parametrisation_logits_grow():
    """With Adam by the power 1 in the limit: every entry of the readout moves by the rate with the stream."""
    experiment = resolve([*MUP, "model.base_width=none", "optimizer={kind: adamw, lr: 3e-3}"])
    found = slopes(coordinate_check(experiment, WIDTHS, 4))
    assert found["logits"] > 0.7 and found["blocks.0"] > BOUND, found


def test_slopes_are_powers():
    assert slopes({"a": {w: 3.0 * w**0.5 for w in WIDTHS}, "b": dict.fromkeys(WIDTHS, 2.0)}) == {
        "a": pytest.approx(0.5),
        "b": pytest.approx(0.0, abs=1e-12),
    }


@pytest.mark.parametrize("objective", ["causal", "masked", "spans"])
def test_every_task_and_kind_of_model(objective):
    words = ["tiny", "model.layers=1", "data.context=16", "train.batch=2", f"objective={objective}"]
    kind = {"masked": "+masked-lm", "spans": "+span-corruption"}.get(objective)
    experiment = resolve(words if kind is None else [words[0], kind, *words[1:-1]])
    found = coordinate_check(experiment, [16, 32], 1)
    assert all(set(by) == {16, 32} for by in found.values()) and "logits" in found


def test_the_width_is_all_that_changes():
    experiment = resolve(["tiny"])
    wide = at_width(experiment, 256)
    assert wide.model.width == 256 and at_width(wide, 128) == experiment
    with pytest.raises(ValueError, match="does not divide width"):
        at_width(experiment, 130)
    assert isinstance(wide.model, spec.Decoder)
