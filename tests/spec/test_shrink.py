"""Recipes at a size that trains here: about the parameters asked for, shape and rules kept, durations as
shares of the run; and they learn."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from danlu import spec
from danlu.models import build
from danlu.spec import SpecError, book, catalog, resolve
from danlu.spec.shrink import BATCH, BYTES, CONTEXT, count, shrink, size_of
from danlu.spec.shrink import resolve as resolve_shrunk
from tests.train.small import corpus, go, losses

NAMES = [name for name in catalog.names("recipes") if resolve([name]).data.kind == "text"]
PUBLISHED = [name for name in NAMES if book.entry(name).published.parameters]
SHRUNK = 400_000


def built(experiment: spec.Experiment) -> int:
    """The parameters of the model, on the meta device."""
    with torch.device("meta"):
        model = build(experiment.model, BYTES, experiment.data.context)
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=3)
@given(parameters=st.integers(500_000, 4_000_000))
@example(parameters=617_686)  # between two widths of t5-11b, where another layer is nearest
def test_a_shrunk_recipe_has_about_the_parameters_asked_for(name: str, parameters: int) -> None:
    whole = resolve([name])
    if count(whole.model, whole.data.vocabulary or BYTES, whole.data.context) <= parameters:
        with pytest.raises(SpecError, match="is not less than"):
            shrink(whole, parameters)
        return
    small = shrink(whole, parameters)
    found = built(small)
    assert found == pytest.approx(count(small.model, BYTES, small.data.context), rel=0.01)
    assert 0.75 < found / parameters < 1.34


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_shrunk_recipe_keeps_its_shape_and_rules(name: str) -> None:
    whole, small = resolve([name]), resolve_shrunk([name], "1M")
    a, b = whole.model, small.model

    for field in (
        "kind",
        "norm",
        "placement",
        "residual",
        "bias",
        "tied",
        "dropout",
        "init",
        "embedding_norm",
    ):
        assert getattr(a, field) == getattr(b, field), field
    assert a.mixer.heads * (a.mixer.head_size or a.width / a.mixer.heads) / a.width == pytest.approx(
        b.mixer.heads * (b.mixer.head_size or b.width / b.mixer.heads) / b.width, rel=0.2
    )
    inner = [(model.feed_forward.hidden or 0) / model.width for model in (a, b)]
    assert inner[0] == pytest.approx(inner[1], rel=0.05)
    assert type(a.position) is type(b.position) and len(a.turn()) == len(b.turn())
    assert (a.mixer.kv_heads == 1) <= (b.mixer.kv_heads == 1)
    assert (a.logit_scale is None) == (b.logit_scale is None)
    if b.logit_scale is not None:
        assert b.logit_scale == pytest.approx(b.width**-0.5)
    assert small.objective == whole.objective and small.train.clip == whole.train.clip
    same = {"lr"}
    for field in set(type(whole.optimizer).model_fields) - same:
        assert getattr(small.optimizer, field) == getattr(whole.optimizer, field), field
    assert small.schedule.kind == whole.schedule.kind
    assert len(small.train.ramp) == len(whole.train.ramp)
    assert small.data.context <= CONTEXT and small.train.batch == BATCH
    assert small.data.tokenizer == "bytes" and small.train.tokens < 10**7


def test_durations_become_shares_of_the_run() -> None:
    small = resolve_shrunk(["gpt3-175b"], "2M")
    assert small.schedule.pieces[0].until == pytest.approx(260 / 300, rel=1e-2)
    assert small.train.ramp[0].until == pytest.approx(12 / 300, rel=1e-2)
    assert small.schedule.warmup == 0.02  # 375 M of 300 B tokens would be no update at all
    t5 = resolve_shrunk(["t5-small"], "1M")
    assert t5.schedule.hold == 0.01 and t5.schedule.warmup == 0  # 10,000 of a million steps


def test_the_rate_follows_the_tables_of_the_families() -> None:
    """The rule of one exponent tells the smallest model's rate of GPT-3, Gopher and OPT within a third."""
    for large, small in (("gpt3-175b", "gpt3-125m"), ("gopher-280b", "gopher-44m"), ("opt-66b", "opt-125m")):
        a, b = resolve([large]), resolve([small])
        told = a.optimizer.lr * (a.model.width / b.model.width) ** 0.8
        assert abs(math.log(told / b.optimizer.lr)) < math.log(4 / 3)
    for relative in ("t5-3b", "palm-540b"):
        assert resolve_shrunk([relative], "1M").optimizer == resolve([relative]).optimizer


def test_words_are_laid_over_the_shrunk_recipe() -> None:
    found = resolve_shrunk(["gpt3-175b", "+swiglu", "train.steps=7", "model.pattern=none"], "1M")
    plain = resolve_shrunk(["gpt3-175b"], "1M")
    assert (found.train.steps, found.train.tokens) == (7, None)
    assert found.model.width == plain.model.width and found.model.feed_forward.kind == "glu"
    assert resolve_shrunk(["tiny"]) == resolve(["tiny"])


@pytest.mark.parametrize(
    ("words", "size", "said"),
    [
        (["tiny"], "many", "--shrink = 'many' is not a number of parameters such as 500k or 2M"),
        (["tiny"], "-3", "is not a number of parameters"),
        (["tiny"], "0", "is not a number of parameters"),
        (["tiny"], "2M", "2,000,000 is not less than the 85.,... parameters"),
        (["gpt3-175b"], "1k", "the nearest that keeps the recipe's shape has"),
        (["tinny"], "2M", "did you mean tiny"),
    ],
)
def test_what_cannot_be_shrunk_is_told(words: list[str], size: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        resolve_shrunk(words, size)


def test_sizes_are_read_as_numbers_are() -> None:
    assert [size_of(text) for text in ("2M", "500k", "1.5m", "30_000", "123456")] == [
        2_000_000, 500_000, 1_500_000, 30_000, 123_456
    ]  # fmt: skip


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("text"), documents=200)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in ("nano", "bed", "mdlm", "bigram-backcopy")]
)  # smaller already
def test_every_recipe_shrunk_trains(name: str, text: Path, tmp_path: Path) -> None:
    """Twenty updates of the trainer: every loss is finite, the last five are lower than the first five."""
    bound = ["train.steps=20", "train.log_every=1", "train.evaluate_tokens=2048", "train.device=cpu"]
    experiment = resolve_shrunk([name, f"data.corpus={text}", *bound], str(SHRUNK))
    go(experiment, tmp_path)
    found = losses(tmp_path)
    assert len(found) == 20 and all(map(math.isfinite, found))
    assert sum(found[-5:]) < sum(found[:5]) - 0.05 * 5
