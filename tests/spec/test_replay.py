"""What is written is read back as the same experiment, by this reader and by PyYAML's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from danlu.spec import (
    GLU,
    MLP,
    AdamW,
    Attention,
    Constant,
    Cosine,
    Decoder,
    Experiment,
    LayerNorm,
    Learned,
    Linear,
    Muon,
    NoPosition,
    Piece,
    Pieces,
    QKNorm,
    RMSNorm,
    Rotary,
    SpecError,
    Stage,
    Text,
    Train,
    Vary,
    catalog,
    difference,
    flatten,
    resolve,
    to_yaml,
    validate,
)  # fmt: skip

positive = st.floats(min_value=1e-300, max_value=1e300)
count = st.integers(1, 10**12)
maybe_count = st.none() | count
fraction = st.floats(0, 1)
duration = fraction | st.builds("{} {}".format, st.integers(0, 10**15), st.sampled_from(["steps", "tokens"]))
tricky = """
none null no on 1e-3 1:30 010 0x1F ~ true 2024-01-01 = << !x &a *a a:b # % @ ` ? - | > .nan -.inf
"""
text = st.text(max_size=30) | st.sampled_from([*tricky.split(), "- a", "a: b", " a", "a ", "a\nb\n"])

norms = st.builds(RMSNorm, eps=positive, gain=st.booleans()) | st.builds(LayerNorm, bias=st.booleans())
forwards = st.builds(MLP, hidden=maybe_count) | st.builds(
    GLU, activation=st.sampled_from(["silu", "none"]), hidden=maybe_count
)
positions = st.one_of(st.builds(Rotary, base=positive), st.just(Learned()), st.just(NoPosition()))
mixers = st.builds(
    Attention,
    heads=st.just(4),
    kv_heads=st.sampled_from([None, 1, 2, 4]),
    head_size=st.sampled_from([None, 2, 8]),
    qk_norm=st.none() | st.builds(QKNorm, eps=positive),
    scale=st.none() | positive,
)
experiments = st.builds(
    Experiment,
    model=st.builds(
        Decoder,
        layers=st.integers(1, 10_000), mixer=mixers, feed_forward=forwards, norm=norms, position=positions,
        softcap=st.none() | positive, tied=st.booleans(),
    ),
    data=st.builds(Text, corpus=text, context=count, text=text),
    optimizer=st.builds(AdamW, lr=positive) | st.builds(Muon, adamw_lr=positive, weight_decay=positive),
    schedule=st.one_of(
        st.builds(Constant, warmup=duration), st.builds(Linear, warmup=duration, floor=fraction),
        st.builds(Cosine, warmup=duration),
        st.builds(Pieces, pieces=st.builds(Piece, to=fraction, until=st.none() | st.just("2k steps")).map(
            lambda piece: (piece,)
        )),
    ),
    vary=st.just(()) | st.just((Vary(setting="beta2", start=0.5, pieces=(Piece(to=0.9),)),)),
    train=st.builds(
        Train,
        steps=count, tokens=maybe_count,
        ramp=st.just(()) | st.just((Stage(batch=4, until="9k tokens", by=2),)),
        seconds=st.none() | positive, seed=st.integers(-(2**63), 2**63 - 1),
        compile=st.sampled_from(["auto", True, False]),
    ),
)  # fmt: skip


@settings(
    max_examples=60, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(experiment=experiments)
def test_written_and_read_it_is_the_same(tmp_path: Path, experiment: Experiment) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(to_yaml(experiment), encoding="utf-8")
    assert resolve([str(path)]) == experiment
    assert validate(yaml.safe_load(to_yaml(experiment))) == experiment
    assert validate(flatten(experiment)) == experiment


@settings(max_examples=40, deadline=None)
@given(a=experiments, b=experiments)
def test_the_difference_is_what_differs(a: Experiment, b: Experiment) -> None:
    rows = difference(a, b)
    assert bool(rows) == (a != b)
    turned = {field: (right, left) for field, left, right in difference(b, a)}
    assert {field: (left, right) for field, left, right in rows} == turned


written = {
    "model.norm": st.sampled_from(["rms", "layer", "{kind: layer, bias: true}"]),
    "model.norm.eps": positive,
    "model.position": st.sampled_from(["none", "learned", "rotary"]),
    "model.mixer.qk_norm": st.sampled_from(["none", "{when: after}"]),
    "model.mixer.window": st.sampled_from(["none", "8"]),
    "model.dropout": st.floats(0, 1, exclude_max=True),
    "data.corpus": text.filter(str.strip),
    "optimizer": st.sampled_from(["adamw", "muon"]),
    "optimizer.lr": positive,
    "schedule": st.sampled_from(["constant", "linear", "cosine"]),
    "schedule.warmup": st.sampled_from(["0.1", "7 steps", "1k steps", "1.5M tokens"]),
    "train.tokens": st.sampled_from(["1M", "2e6", "123_456"]),
    "train.seconds": positive,
    "train.seed": st.integers(),
    "train.compile": st.sampled_from(["auto", "true", "false"]),
}
word = st.one_of(
    *(values.map(lambda value, field=field: f"{field}={value}") for field, values in written.items()),
    st.sampled_from([f"+{name}" for name in catalog.names("ideas")]),
)


@settings(max_examples=100, deadline=None)
@given(name=st.sampled_from(catalog.names("recipes")), words=st.lists(word, max_size=6))
def test_any_words_are_replayed_or_refused_in_sentences(name: str, words: list[str]) -> None:
    try:
        experiment = resolve([name, *words])
    except SpecError as error:  # an idea that changes nothing, a window in a context that is shorter
        assert str(error) and "validation error" not in str(error)
        return
    assert validate(yaml.safe_load(to_yaml(experiment))) == experiment
    again = [w for w in words if not w.startswith("+")][-1:]  # the last word holds whatever came before
    assert resolve([name, *words, *again]) == experiment or any(w.startswith("+") for w in words)


def test_flatten_and_difference_show_every_field() -> None:
    tiny = resolve(["tiny"])
    flat = flatten(tiny)
    assert flat["model.mixer.heads"] == 4 and flat["optimizer.kind"] == "muon" and flat["train.steps"] is None
    assert difference(tiny, resolve(["tiny", "model.norm=layer"])) == [
        ("model.norm.kind", "rms", "layer"),
        ("model.norm.gain", False, True),
        ("model.norm.bias", "–", False),
    ]


@pytest.mark.parametrize("seconds", [1, 1.0, True])
def test_python_is_as_strict_as_yaml(seconds: Any) -> None:
    if seconds is True:
        with pytest.raises(ValueError, match="valid number"):
            Train(seconds=seconds)
    else:
        assert Train(seconds=seconds).seconds == 1.0
    assert Decoder(norm={"gain": False}).norm == RMSNorm(gain=False)  # type: ignore[arg-type]
    assert Decoder(position="none").position == NoPosition()  # type: ignore[arg-type]
