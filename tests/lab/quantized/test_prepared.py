"""Rewritten models are described by their experiments, and are the same functions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from danlu import spec
from danlu.lab.errors import LabError
from danlu.lab.quantized import Settings
from danlu.lab.quantized.prepared import prepare
from danlu.models import build
from tests.models.small import CONTEXT, VOCABULARY, small, tokens
from tests.quantization.test_rotations import KINDS, REFUSED

OBJECTIVE: Any = SimpleNamespace(inputs=(VOCABULARY, CONTEXT))
ROTATE = Settings.of("int4", "rotate")
WITHOUT_A_PLACE = ("narrow-embedding",)  # for the bias that a layer norm leaves


def drawn(settings: dict[str, Any], **more: Any) -> tuple[spec.Experiment, Any]:
    model = small(double=False, **settings, **more).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    given = {"layers": 2, "width": 16, "init": spec.Init(branch="same"), **settings, **more}
    return spec.Experiment(model=spec.Decoder.model_validate(given)), model


def rebuilt(experiment: spec.Experiment, model: Any) -> Any:
    """The model that the experiment describes, in float64, with the tensors of ``model``."""
    again = build(experiment.model, *OBJECTIVE.inputs)
    again.load_state_dict(model.state_dict())
    return again.eval()


@pytest.mark.parametrize("name", [name for name in KINDS if name not in (*REFUSED, *WITHOUT_A_PLACE)])
def test_a_turned_model_is_what_its_experiment_says(name: str) -> None:
    """Of every kind of decoder; tied ones are untied."""
    tied = {} if "tied" in KINDS[name] or "embedding_width" in KINDS[name] else {"tied": True}
    (experiment, model), text = drawn(KINDS[name], **tied), tokens()
    with torch.no_grad():
        before = model(text)
        changed, turned, notes = prepare(experiment, model, OBJECTIVE, ROTATE, ())
        torch.testing.assert_close(rebuilt(changed, turned)(text), before, rtol=1e-3, atol=1e-3)
    assert any("tied = false" in note for note in notes) == bool(tied)
    assert not changed.network.tied


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_bound_to_channels_is_refused(name: str) -> None:
    experiment, model = drawn(KINDS[name])
    with pytest.raises(ValueError, match=REFUSED[name]):
        prepare(experiment, model, OBJECTIVE, ROTATE, ())


@pytest.mark.parametrize("name", WITHOUT_A_PLACE)
def test_biases_that_no_specification_has(name: str) -> None:
    experiment, model = drawn(KINDS[name], tied=False)
    with pytest.raises(LabError, match=r"no place for it; set model.norm.bias=false"):
        prepare(experiment, model, OBJECTIVE, ROTATE, ())


def test_smoothquant_gives_norms_the_gains_that_it_needs() -> None:
    experiment, model = drawn({"norm": spec.RMSNorm(gain=False)})
    text = tokens()
    settings = Settings.of("int8", "smoothquant", activations="int8")
    with torch.no_grad():
        before = model(text)
        changed, smoothed, notes = prepare(experiment, model, OBJECTIVE, settings, [text])
        torch.testing.assert_close(rebuilt(changed, smoothed)(text), before, rtol=1e-3, atol=1e-3)
    assert notes == ["norm.gain = true, where smoothquant puts its scales"]
    gains = smoothed.blocks[0].mixer_norm.gain
    assert (gains - 1).abs().max() > 0.1
