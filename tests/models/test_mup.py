"""muP's half that is in the model: initial weights, the stream before the readout, the scale of scores."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from danlu import spec
from danlu.interop.normal import normal
from danlu.models import build

SMALL = {"layers": 2, "width": 64, "mixer": {"heads": 2}}
KINDS = {
    "decoder": spec.Decoder(**SMALL, tied=False),
    "tied": spec.Decoder(**SMALL),
    "latent": spec.Decoder(**SMALL | {"mixer": spec.LatentAttention(heads=2, latent=16, rotary_size=8)}),
    "encoder": spec.Encoder(**SMALL, transform="gelu", readout_bias=True, segments=2),
    "encoder-decoder": spec.EncoderDecoder(**SMALL, bias=True),
}
each = pytest.mark.parametrize("network", KINDS.values(), ids=KINDS.keys())


def change(network, **fields):
    return type(network)(**network.settings() | fields)


def inputs(network):
    tokens = torch.randint(13, (2, 8))
    memory = {"encoder_tokens": tokens.flip(0)} if network.kind == "encoder-decoder" else {}
    return {"tokens": tokens, **memory}


@each
def test_at_the_base_nothing_changes(network):
    outputs = []
    for base in (None, network.width):
        torch.manual_seed(0)
        model = build(change(network, base_width=base), 13, 8)
        outputs.append(model(**inputs(network)))
    assert torch.equal(*outputs)


@each
def test_forward_is_a_standard_model_with_multipliers(network):
    """Logits by 1/m, and scores by √base/size in place of 1/√size."""
    wide = build(change(network, base_width=16, readout_bias=False), 13, 8)
    latent = network.mixer.kind == "latent"
    size, base = (40, 16) if latent else (32, 8)
    mixer = type(network.mixer)(**network.mixer.settings() | {"scale": base**0.5 / size})
    same = build(change(network, logit_scale=0.25, mixer=mixer, readout_bias=False), 13, 8)
    same.load_state_dict(wide.state_dict())
    tokens = inputs(network)
    torch.testing.assert_close(wide(**tokens), same(**tokens), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("width", [64, 256])
def test_a_map_of_the_input_keeps_its_std(width):
    """Of pixels, whose number does not grow with the width; to four standard errors."""
    network = spec.Patches(layers=1, width=width, base_width=64, patch=4, init=spec.Init(std=0.02))
    weight = build(network, (3, 8, 8), 10).embedding.weight
    assert abs(weight.std() / 0.02 - 1) < 4 / (2 * weight.numel()) ** 0.5


def test_the_readouts_bias_is_not_divided():
    model = build(change(KINDS["decoder"], base_width=16, readout_bias=True), 13, 8)
    with torch.no_grad():
        model.readout.weight.zero_()
        model.readout.bias.fill_(3.0)
    assert (model(torch.zeros(1, 8, dtype=torch.int64)) == 3.0).all()


@pytest.mark.parametrize("mixer", [{"head_size": 16}, {"scale": 0.5}], ids=["head_size", "scale"])
def test_what_is_said_of_heads_stays(mixer):
    network = change(KINDS["decoder"], base_width=16, mixer={"heads": 2, **mixer})
    assert build(network, 13, 8).blocks[0].mixer.scale == mixer.get("scale", 0.25)


@pytest.mark.parametrize("std", [None, 0.02])
@pytest.mark.parametrize("base", [32, 64, 256])
def test_initial_weights_by_width(std, base):
    """Hidden ∝ 1/√width, embedding and readout as at the base's width (table 8). A sample of N numbers has
    a standard deviation within 5/√(2N) of the true one, relatively."""
    network = spec.Decoder(
        layers=1, width=128, tied=False, base_width=base, init=spec.Init(std=std, branch="same")
    )
    model = build(network, 257, 8)
    hidden = 128**-0.5 if std is None else std * (base / 128) ** 0.5
    expected = {
        model.blocks[0].mixer.qkv.weight: hidden,
        model.blocks[0].feed_forward.down.weight: 512**-0.5 if std is None else hidden,
        model.embedding.weight: 0.02,
        model.readout.weight: base**-0.5 if std is None else std,
    }
    for weight, true in expected.items():
        assert abs(weight.std().item() / true - 1) <= 5 / (2 * weight.numel()) ** 0.5


def test_no_rule_for_code_words():
    with pytest.raises(ValidationError, match=r"base_width = 64 has no rule for the code words"):
        spec.Decoder(mixer=spec.VQAttention(), position="none", base_width=64)


def test_scales_are_in_the_normal_form():
    """What other programs are told of a model has muP's scale of scores."""
    assert normal(change(KINDS["decoder"], base_width=16), 13, 8)["mixer"]["scale"] == 8**0.5 / 32
