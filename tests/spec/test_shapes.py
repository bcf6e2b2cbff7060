"""Shapes of known models are consistent, and a model's place among them is counted right."""

from __future__ import annotations

import pytest

from danlu.spec import resolve
from danlu.spec.catalog import names
from danlu.spec.models import Decoder
from danlu.spec.shapes import RATIOS, Shape, advice, known, nearest, shape_of, warnings

BY_NAME = {shape.name: shape for shape in known()}
# Where the estimate, which leaves out biases, norms and positions, is further off than five in a hundred.
RELATIVE = {
    "Gopher 7.1B",
    "Gopher 280B",
    "Chinchilla 70B",
}  # Transformer-XL's matrix for distances: width² a layer
# The paper rounds: the weights hold 738 M and 11.3 B.
ROUNDED = {"T5 large": 0.05, "T5 11B": 0.03}


@pytest.mark.parametrize("name", BY_NAME)
def test_an_entry_is_consistent(name):
    shape = BY_NAME[name]
    assert shape.heads and shape.head_size and shape.kv_heads and shape.parameters and shape.year
    assert shape.heads % shape.kv_heads == 0
    assert shape.source
    if shape.experts:  # all but the dense layers' feed-forward is missing
        assert shape.estimate() < shape.parameters
        return
    extra = shape.layers * shape.width**2 if name in RELATIVE else 0
    assert abs((shape.estimate() + extra) / shape.parameters - 1) <= ROUNDED.get(name, 0.025)
    # Most are plain: heads · size = width. The others are known for it.
    if shape.heads * shape.head_size != shape.width:
        assert name.split()[0] in {"T5", "PaLM", "Gemma", "Qwen3", "DeepSeek-V2", "DeepSeek-V3"}


def test_names_are_unique():
    assert len(BY_NAME) == len(known()) >= 35


def test_two_models_by_hand():
    xl = BY_NAME["GPT-2 XL"]  # 48 layers of 1600, 25 heads of 64
    assert {name: of(xl) for name, of in RATIOS.items()} == {
        "feed-forward over width": 4.0,
        "heads × size over width": 1.0,
        "width over layers": pytest.approx(100 / 3),
        "head size": 64,
        "vocabulary": 50257,
    }
    llama = BY_NAME["LLaMA 7B"]  # 32 layers of 4096; a gated layer of 11008 has three matrices
    assert llama.feed_forward == pytest.approx(11008 * 3 / (4096 * 2))
    assert llama.aspect == 128
    assert llama.estimate() == 32 * (4 * 4096**2 + 3 * 4096 * 11008) + 2 * 32000 * 4096


def test_a_gated_layer_of_as_many_parameters_compares_as_one_of_four_times():
    plain = shape_of(Decoder(width=768), 257)
    gated = shape_of(Decoder(width=768, feed_forward={"kind": "glu"}), 257)
    assert plain.feed_forward == gated.feed_forward == 4


@pytest.mark.parametrize(
    "words",
    [[name] for name in names("recipes") if resolve([name]).data.kind == "text"]
    + [["tiny", "+mla"], ["tiny", "+lru"]],
)
def test_the_shape_is_that_of_the_model_built(words):
    import torch

    from danlu.models import build

    model = resolve(words).model
    shape = shape_of(model, 100)
    with torch.device("meta"):
        layer = build(model, 100, 64).blocks[0].feed_forward
    assert layer.out.in_features == shape.hidden
    assert layer.out.out_features == shape.width
    assert shape.gated == hasattr(layer, "gate")


def test_the_place_is_counted():
    told = advice(Decoder(width=768, layers=12, mixer={"heads": 12}), 50257)
    aspect = told["ratios"]["width over layers"]
    assert aspect["value"] == 64
    assert aspect["below"] == sum(shape.width < 64 * shape.layers for shape in known())
    assert aspect["above"] == sum(shape.width > 64 * shape.layers for shape in known())
    for ratio in told["ratios"].values():
        assert ratio["lowest"] <= ratio["median"] <= ratio["highest"]
        assert ratio["below"] + ratio["above"] <= told["known"] == len(known())
    assert told["nearest"][0]["name"] == "GPT-2 124M"
    assert len(told["nearest"]) == 2
    assert (
        "heads × size over width"
        not in advice(Decoder(mixer={"kind": "lru"}, position={"kind": "none"}), 257)["ratios"]
    )


@pytest.mark.parametrize("shape", known(), ids=lambda shape: shape.name)
def test_a_model_is_its_own_nearest(shape):
    first = nearest(shape, 1)[0]
    assert all(of(first) == of(shape) for name, of in RATIOS.items())


def test_warnings_are_about_multiples():
    def of(size: int, vocabulary: int, width: int = 8) -> list[str]:
        return warnings(
            Shape(name="", layers=1, width=width, heads=1, head_size=size, hidden=8, gated=False,
                  vocabulary=vocabulary, tied=True)
        )  # fmt: skip

    assert of(64, 50304) == of(72, 64) == []
    assert "multiple of 8" in of(20, 64)[0]
    assert "50304" in of(64, 50257)[0]
    assert "heads of 128" in of(64, 64, 512)[0]  # four of them at the least
    assert of(64, 64, 508) == of(128, 64, 512) == of(32, 64, 512) == []
