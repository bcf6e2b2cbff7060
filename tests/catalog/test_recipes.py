"""The recipe book: published models have their parameters and say where each figure comes from; its table."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from danlu import spec
from danlu.cli.main import app
from danlu.cli.output import short
from danlu.files.numbers import rounded
from danlu.files.yaml import parse
from danlu.models import Model, build
from danlu.spec import SpecError, book, catalog, resolve, validate

NAMES = catalog.names("recipes")
PUBLISHED = [name for name in NAMES if book.entry(name).published.parameters]

# Sizes of which the paper's figure is not that of the model, and what the published weights hold.
WEIGHTS = {
    "t5-large": (737_668_096, "the paper's 770 M have the embedding, 32,128 × 1,024, twice"),
    "t5-11b": (11_307_321_344, "the paper's 11 billion are rounded"),
    "opt-350m": (331_196_416, "the embedding has a width of 512, not of 1,024"),
}


def built(experiment: spec.Experiment, vocabulary: int | None = None) -> Model:
    data = experiment.data
    with torch.device("meta"):
        model: Model = build(experiment.model, vocabulary or data.vocabulary, data.context)
    return model


def parameters_of(model: Model) -> int:
    return sum(p.numel() for p in model.parameters())


def transformer_xl(name: str, experiment: spec.Experiment) -> int:
    """Gopher and Chinchilla have Transformer-XL's positions, a matrix of width × width in each layer, where
    danlu has Shaw's, a table of relative positions."""
    position, model = experiment.model.position, experiment.model
    if not isinstance(position, spec.Relative):
        return 0
    assert name.startswith(("gopher-", "chinchilla-"))
    table = (2 * position.distance + 1) * (model.width // model.mixer.heads)
    return int(model.layers * (model.width**2 - table))


# ---------------------------------------------------------------- what is published


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_within_two_percent_of_the_published_ones(name: str) -> None:
    entry = book.entry(name)
    wanted, _ = WEIGHTS.get(name, (entry.published.parameters, ""))
    found = parameters_of(built(entry.experiment)) + transformer_xl(name, entry.experiment)
    assert wanted is not None
    assert abs(found / wanted - 1) < 0.02, f"{name}: {found:,} built, {wanted:,} published"


def test_exceptions_have_a_reason_in_the_recipe() -> None:
    for name, (counted, reason) in WEIGHTS.items():
        said = book.entry(name).sources["published.parameters"]
        assert reason and "published weights" in said
        assert counted == parameters_of(built(book.entry(name).experiment))


def test_every_family_and_size_is_there() -> None:
    sizes = {
        "gpt": "117m",
        "bert": "base large",
        "megatron": "gpt2-8.3b bert-3.9b",
        "t5": "small base large 3b 11b",
        "gpt3": "125m 350m 760m 1.3b 2.7b 6.7b 13b 175b",
        "gopher": "44m 117m 417m 1.4b 7.1b 280b",
        "chinchilla": "70b",
        "opt": "125m 350m 1.3b 2.7b 6.7b 13b 30b 66b 175b",
        "palm": "8b 62b 540b",
        "llama": "7b 13b 33b 65b",
        "llama2": "7b 13b 34b 70b",
    }
    assert {f"{family}-{size}" for family, all in sizes.items() for size in all.split()} <= set(NAMES)


FIGURES = ("model.layers", "model.width", "model.mixer.heads", "data.context", "data.corpus")
HYPERPARAMETERS = (
    "optimizer.lr", "optimizer.weight_decay", "train.batch", "train.clip", "model.init", "model.dropout"
)  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_figure_has_a_source_or_is_unknown(name: str) -> None:
    entry = book.entry(name)
    said = {*entry.sources, *entry.unknown}
    for field in (*FIGURES, *HYPERPARAMETERS):
        assert any(field == one or one.startswith(f"{field}.") for one in said) or (
            field == "optimizer.weight_decay" and entry.experiment.optimizer.weight_decay == 0
        ), field
    assert entry.published.year and "published.parameters" in said | {"published.parameters"}
    assert all(entry.sources.values())


def test_gpt3_follows_its_table_and_appendix() -> None:
    gpt3 = resolve(["gpt3-175b"])
    assert gpt3.train.batch * gpt3.data.context == pytest.approx(3.2e6, rel=0.03)
    assert gpt3.train.ramp[0].batch * gpt3.data.context == 32768
    assert (gpt3.optimizer.beta2, gpt3.optimizer.weight_decay) == (0.95, 0.1)
    assert gpt3.train.tokens == 300_000_000_000
    assert gpt3.schedule.warmup == "375M tokens"
    windows = [parts.mixer.window for parts in gpt3.model.parts()]
    assert windows[0] is None and windows[1] is not None and windows[::2] == [None] * 48


# Peak learning rate, tokens of a batch (the last, where it grows) and clip of every size, as published.
M = 10**6
TRAINED = {
    # Radford et al. 2018, section 4.1: 64 sequences of 512
    "gpt-117m": (2.5e-4, 64 * 512, None),
    # Devlin et al. 2019, appendix A.2: 256 sequences of 512
    "bert-base": (1e-4, 256 * 512, 1.0),
    "bert-large": (1e-4, 256 * 512, 1.0),
    # nanoGPT, config/train_gpt2.py: 12 · 40 sequences of 1,024
    "gpt2-124m": (6e-4, 12 * 40 * 1024, 1.0),
    # Shoeybi et al. 2019, section 4.2
    "megatron-gpt2-8.3b": (1.5e-4, 512 * 1024, 1.0),
    "megatron-bert-3.9b": (1e-4, 1024 * 512, 1.0),
    # Raffel et al. 2020, sections 3.1.2 and 3.7: 2^11 sequences of 512, the rate relative to the weights
    **{f"t5-{size}": (0.01, 2**11 * 512, 0.0) for size in ("small", "base", "large", "3b", "11b")},
    # Brown et al. 2020, table 2.1; appendix B for the clip
    "gpt3-125m": (6.0e-4, 0.5 * M, 1.0),
    "gpt3-350m": (3.0e-4, 0.5 * M, 1.0),
    "gpt3-760m": (2.5e-4, 0.5 * M, 1.0),
    "gpt3-1.3b": (2.0e-4, 1 * M, 1.0),
    "gpt3-2.7b": (1.6e-4, 1 * M, 1.0),
    "gpt3-6.7b": (1.2e-4, 2 * M, 1.0),
    "gpt3-13b": (1.0e-4, 2 * M, 1.0),
    "gpt3-175b": (0.6e-4, 3.2 * M, 1.0),
    # Rae et al. 2021, table 1; section 3.2 for the clip
    "gopher-44m": (6e-4, 0.25 * M, 1.0),
    "gopher-117m": (6e-4, 0.25 * M, 1.0),
    "gopher-417m": (2e-4, 0.25 * M, 1.0),
    "gopher-1.4b": (2e-4, 0.25 * M, 1.0),
    "gopher-7.1b": (1.2e-4, 2 * M, 0.25),
    "gopher-280b": (4e-5, 6 * M, 0.25),
    # Hoffmann et al. 2022, table 4: 1.5 M, then 3 M; the clip is that of Gopher 280B and unknown
    "chinchilla-70b": (1e-4, 3 * M, None),
    # Zhang et al. 2022, table 1; section 2.2 for the clip
    "opt-125m": (6.0e-4, 0.5 * M, 1.0),
    "opt-350m": (3.0e-4, 0.5 * M, 1.0),
    "opt-1.3b": (2.0e-4, 1 * M, 1.0),
    "opt-2.7b": (1.6e-4, 1 * M, 1.0),
    "opt-6.7b": (1.2e-4, 2 * M, 1.0),
    "opt-13b": (1.0e-4, 4 * M, 1.0),
    "opt-30b": (1.0e-4, 4 * M, 1.0),
    "opt-66b": (0.8e-4, 2 * M, 1.0),
    "opt-175b": (1.2e-4, 2 * M, 1.0),
    # Chowdhery et al. 2022, table 1: sequences of 2,048; section 5 for rate and clip
    "palm-8b": (1e-2, 512 * 2048, 1.0),
    "palm-62b": (1e-2, 1024 * 2048, 1.0),
    "palm-540b": (1e-2, 2048 * 2048, 1.0),
    # Touvron et al. 2023 a, table 2; section 2.3 for the clip
    "llama-7b": (3.0e-4, 4 * M, 1.0),
    "llama-13b": (3.0e-4, 4 * M, 1.0),
    "llama-33b": (1.5e-4, 4 * M, 1.0),
    "llama-65b": (1.5e-4, 4 * M, 1.0),
    # Touvron et al. 2023 b, table 1; section 2.2 for the clip
    "llama2-7b": (3.0e-4, 4 * M, 1.0),
    "llama2-13b": (3.0e-4, 4 * M, 1.0),
    "llama2-34b": (1.5e-4, 4 * M, 1.0),
    "llama2-70b": (1.5e-4, 4 * M, 1.0),
    # llama2.c, train.py: 4 · 128 sequences of 256
    **{f"llama-{size}": (5e-4, 4 * 128 * 256, 1.0) for size in ("15m", "42m", "110m")},
}


def test_every_published_recipe_is_in_the_table() -> None:
    assert {name for name in NAMES if book.entry(name).published.year} <= set(TRAINED)


@pytest.mark.parametrize("name", TRAINED)
def test_rates_batches_and_clips_are_the_published_ones(name: str) -> None:
    """A batch is within 5 % of the figure, which is rounded: 512 · 2,048 is 1 M."""
    lr, batch, clip = TRAINED[name]
    entry = book.entry(name)
    experiment = entry.experiment
    assert experiment.optimizer.lr == pytest.approx(lr, rel=1e-9)
    assert experiment.train.batch * experiment.data.context == pytest.approx(batch, rel=0.05)
    if clip is None:
        assert "train.clip" in entry.unknown
    else:
        assert experiment.train.clip == clip and "train.clip" not in entry.unknown


def test_what_nobody_published_is_said_to_be_unknown() -> None:
    gpt, chinchilla = book.entry("gpt-117m"), book.entry("chinchilla-70b")
    guesses = {"train.clip", "optimizer.beta1", "optimizer.beta2", "optimizer.eps"}
    assert guesses <= set(gpt.unknown)
    # Gopher 280B's clip (Rae et al. 2021, section 3.2), the nearest source there is.
    assert "train.clip" in chinchilla.unknown and chinchilla.experiment.train.clip == 0.25


def test_the_corrections_to_what_is_often_told_hold() -> None:
    assert resolve(["megatron-gpt2-8.3b"]).schedule.warmup == "3000 steps"
    palm = resolve(["palm-540b"])
    assert palm.model.dropout == 0
    # lr² of each step: the rate times a decay that varies with it, both with the same peak.
    assert palm.vary[0].setting == "weight_decay" and not palm.vary[0].pieces
    assert palm.optimizer.weight_decay == palm.optimizer.lr


# ---------------------------------------------------------------- the format


def shelf(monkeypatch: pytest.MonkeyPatch, **written: dict[str, Any]) -> None:
    """The recipes, and beside them those ``written``."""
    old = catalog.read_recipe
    monkeypatch.setattr(catalog, "names", lambda shelf: (*NAMES, *written) if shelf == "recipes" else ())
    monkeypatch.setattr(catalog, "read_recipe", lambda n: dict(written[n]) if n in written else old(n))


@pytest.mark.parametrize(
    ("about", "said"),
    [
        (
            {"sources": {"optimizer.lrr": "x"}},
            r"sources tells of optimizer\.lrr, .*did you mean optimizer\.lr\?",
        ),
        ({"unknown": ["model.depth"]}, r"unknown tells of model\.depth, which it has not"),
        ({"unknown": "optimizer.lr"}, "unknown = 'optimizer.lr' is not a list of fields"),
        ({"sources": ["optimizer.lr"]}, "sources = .* is not a mapping"),
        ({"published": {"paramters": "7B"}}, "published: paramters"),
        ({"published": {"parameters": "many"}}, "published: parameters = 'many' is not a whole number"),
    ],
)
def test_what_a_recipe_says_of_itself_is_checked(
    monkeypatch: pytest.MonkeyPatch, about: dict[str, Any], said: str
) -> None:
    shelf(monkeypatch, odd={"base": "tiny", **about})
    with pytest.raises(SpecError, match=f"recipe odd: {said}"):
        book.entry.__wrapped__("odd")


def test_sources_are_inherited_and_settle_what_was_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf(
        monkeypatch,
        low={
            "base": "tiny",
            "sources": {"optimizer.lr": "table 1", "train.batch": "table 1"},
            "unknown": ["train.clip", "model.init"],
            "published": {"year": 2020, "tokens": "1B"},
        },
        high={
            "base": "low",
            "sources": {"train.clip": "a  letter", "train.batch": "table 2"},
            "published": {"tokens": "2B"},
        },
    )
    high = book.entry.__wrapped__("high")
    assert high.sources == {"optimizer.lr": "table 1", "train.batch": "table 2", "train.clip": "a letter"}
    assert high.unknown == ("model.init",)
    assert (high.published.year, high.published.tokens) == (2020, 2 * 10**9)
    assert high.said_of("train.clip") == "a letter" and high.said_of("model.init") == "not published"


@pytest.mark.parametrize("name", ["tiny", "gpt3-175b", "palm-62b", "t5-11b", "bert-large"])
def test_yaml_with_sources_is_the_same_experiment(name: str) -> None:
    experiment = resolve([name, "optimizer.lr=0.123"])
    text = book.to_yaml(experiment, name)
    assert validate(yaml.safe_load(text)) == experiment
    assert "lr: 0.123\n" in text  # what is not the recipe's has not its source
    if name == "gpt3-175b":
        assert "  layers: 96  # table 2.1\n" in text and "  dropout: 0.0  # not published\n" in text


# ---------------------------------------------------------------- on the command line


def said(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False, standalone_mode=False)
    assert done.exception is None
    return done.stdout


def test_the_table_can_be_sorted_and_filtered() -> None:
    rows = json.loads(said("recipes", "--json"))
    assert {row["name"] for row in rows} == set(NAMES)
    assert [row["year"] or 0 for row in rows] == sorted(row["year"] or 0 for row in rows)
    for key in ("parameters", "tokens", "lr", "name", "optimizer", "width"):
        for sign in ("", "-"):
            column = [row[key] for row in json.loads(said("recipes", "--json", "--sort", f"{sign}{key}"))]
            there = [value for value in column if value is not None]
            assert there == sorted(there, reverse=bool(sign)) and column[: len(there)] == there
    table = said("recipes", "--family", "gpt3", "--sort", "lr").splitlines()
    assert table[0].split()[:3] == ["name", "year", "parameters"]
    assert table[1].split()[0] == "gpt3-175b" and len(table) == 9
    assert "175B" in table[1] and "6e-5" in table[1] and "300B" in table[1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("recipes", "--sort", "size"), "recipes cannot be sorted by size"),
        (("recipes", "--sort", "yaer"), "did you mean year?"),
        (("recipes", "--family", "gpt4"), "there is no family of recipes named gpt4; did you mean gpt"),
    ],
)
def test_mistakes_in_the_table_are_sentences(words: tuple[str, ...], told: str) -> None:
    with pytest.raises(SpecError) as error:
        said(*words)
    assert told in str(error.value)


def test_the_history_of_the_field_is_a_page() -> None:
    lines = said("diff", "gpt3-175b", "llama2-70b").splitlines()
    fields = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert len(lines) < 45
    assert fields["published.parameters"] == ["174.6B", "70B"]
    assert fields["published.year"] == ["2020", "2023"]
    assert fields["train.tokens"] == ["300B", "2T"] and fields["optimizer.lr"] == ["6e-5", "1.5e-4"]
    assert fields["model.norm.kind"] == ["layer", "rms"] and "model.norm.gain" not in fields


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**15), 10**15))
def test_short_numbers_are_read_back_exactly(number: float) -> None:
    back = spec.schema.adapt(parse(short(number)), spec.schema.Accepts(scalars=(int,)))
    assert back == number


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (999, "999"),
        (1000, "1k"),
        (999_600, "1M"),
        (174_604_259_328, "175B"),
        (3_276_800, "3.28M"),
        (0.5, "0.5"),
    ],
)
def test_rounded_numbers(number: float, shown: str) -> None:
    assert rounded(number) == shown
