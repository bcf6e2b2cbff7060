"""Rows of fields and of tensors, and the normal form, each by itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu import spec
from danlu.interop import InteropError
from danlu.interop.families import FAMILIES
from danlu.interop.families.common import by_group, qkv
from danlu.interop.fields import Field, Only, Reader, read_rope, write_rope
from danlu.interop.normal import differences, layer, normal
from danlu.interop.tensors import Map, come, go, moves


@settings(deadline=None, max_examples=30)
@given(groups=st.integers(1, 4), of=st.integers(1, 3), size=st.integers(1, 5), transposed=st.booleans())
def test_moves_are_undone(groups: int, of: int, size: int, transposed: bool) -> None:
    n: Any = {
        "layers": 1,
        "pattern": None,
        "mixer": {"heads": groups * of, "kv_heads": groups, "head_size": size},
    }
    total = sum(qkv(n))
    row = Map("a", "b", order=by_group, transposed=transposed)
    ours = {"b.weight": torch.randn(total, 3), "b.bias": torch.randn(total)}
    theirs = go(ours, [row], n)
    assert theirs["a.weight"].shape == ((3, total) if transposed else (total, 3))
    back = come(theirs, [row], n, {name: t.shape for name, t in ours.items()})
    assert all(torch.equal(back[name], ours[name]) for name in ours)
    apart = Map(("q", "k", "v"), ("kv", "last"), rows=qkv)
    ours = {"kv.weight": torch.randn(total - size, 2), "last.weight": torch.randn(size, 2)}
    theirs = go(ours, [apart], n)
    assert [len(theirs[f"{x}.weight"]) for x in "qkv"] == list(qkv(n))
    back = come(theirs, [apart], n, {name: t.shape for name, t in ours.items()})
    assert all(torch.equal(back[name], ours[name]) for name in ours)


def test_by_group_against_its_words() -> None:
    """Two groups of two queries: q0 q1 k v, q2 q3 k v."""
    n = {"mixer": {"heads": 4, "kv_heads": 2, "head_size": 1}}
    assert by_group(n).tolist() == [0, 1, 4, 5, 2, 6, 3, 7]


@pytest.mark.parametrize(
    "name", ["gpt2", "opt", "gpt_neox", "gptj", "phi", "falcon", "bloom", "mpt", "bert", "t5"]
)
def test_a_default_config_is_its_own_member(name: str) -> None:
    """Transformers' defaults, read as a specification, are written as the same model."""
    assert not FAMILIES[name].misses(FAMILIES[name].read({}).normal)


def test_rows_refuse_by_name() -> None:
    config = Reader({"act": "quick_gelu", "moe": True, "left": 1})
    with pytest.raises(InteropError, match="act = 'quick_gelu' has no equivalent in danlu; allowed: 'gelu'"):
        Field("act", "feed_forward.activation", "gelu", {"gelu": "gelu"}).read(config)
    with pytest.raises(InteropError, match="moe = true has no equivalent in danlu; allowed: false"):
        Only(moe=False).read(config)
    with pytest.raises(InteropError, match=r"config\.json lacks width"):
        Field("width", "width").read(config)
    assert config.left == {"left": 1}
    with pytest.raises(InteropError, match="contradicts itself: a = 1, but b = 2"):
        Reader({"a": 1, "b": 2}).take("a", "b")


@pytest.mark.parametrize(
    "given",
    [
        {"rope_type": "linear", "factor": 2.0},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 16.0},
        {
            "rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 64,
            "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        },
    ],
    ids=lambda g: g["rope_type"],
)  # fmt: skip
def test_rope_goes_round(given: dict[str, Any]) -> None:
    fields = read_rope(given, 500.0, None, False, "half")
    model = spec.validate({f"model.{name}": value for name, value in fields.items()}).model
    written = write_rope(normal(model, 97, 256)["position"], 256, False)
    assert given.items() <= written.items()
    assert read_rope(written, 10000.0, None, False, "half")["position.base"] == 500.0


def test_rope_refuses_by_name() -> None:
    with pytest.raises(InteropError, match="rope_type = 'dynamic' has no equivalent"):
        read_rope({"rope_type": "dynamic", "factor": 2.0}, 1e4, None, False, "half")
    with pytest.raises(InteropError, match=r"rope_parameters\.beta = 3"):
        read_rope({"rope_type": "linear", "factor": 2.0, "beta": 3}, 1e4, None, False, "half")


def test_the_normal_form_knows_what_is_the_same() -> None:
    def of(**fields: Any) -> dict[str, Any]:
        return normal(spec.Decoder(width=64, layers=2, **fields), 97, 32)

    same = [
        (of(), of(mixer={"kv_heads": 4, "head_size": 16, "scale": 0.25})),
        (of(), of(feed_forward={"hidden": 256, "biases": False})),
        (of(bias=True), of(mixer={"biases": "all"}, feed_forward={"biases": True})),
        (of(), of(pattern=[{"window": "full"}])),
        (of(mixer={"window": 8}), of(pattern=[{"window": 8}, {"window": 8}])),
        (of(), of(logit_scale=1.0, dropout=0.1, init={"std": 0.3})),
    ]
    for a, b in same:
        assert not differences(a, b)
    assert differences(of(), of(tied=False)) == {"tied": (True, False)}
    mixed = of(pattern=[{"window": 8}, {}])
    assert layer(mixed, 0)["mixer"]["window"] == 8
    assert layer(mixed, 1)["mixer"]["window"] is None
    assert differences(of(), mixed)


def test_layers_of_one_map() -> None:
    n: Any = {"layers": 2, "encoder_layers": 3, "pattern": None}
    ours = {f"{side}.blocks.{i}.w": 0 for side in ("encoder", "decoder") for i in range(3)}
    rows = [Map("a.{i}", "encoder.blocks.{i}.w"), Map("b.{i}", "decoder.blocks.{i}.w")]
    assert [m.theirs[0] for m in moves(rows, n, ours)] == ["a.0", "a.1", "a.2", "b.0", "b.1"]
