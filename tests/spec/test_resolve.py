"""Which layer wins, how mappings merge, what ideas and bases do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from danlu.spec import (
    GLU,
    SGD,
    AdamW,
    Cosine,
    Experiment,
    LayerNorm,
    NoPosition,
    RMSNorm,
    SpecError,
    book,
    catalog,
    difference,
    resolve,
    to_yaml,
)  # fmt: skip
from danlu.spec.words import in_full

Write = Callable[[str, str], str]


def test_tiny_is_the_default() -> None:
    assert resolve() == resolve(["tiny"])
    assert resolve(["train.batch=8"]) == resolve(["tiny", "train.batch=8"])
    assert resolve(["+swiglu"]) == resolve(["tiny", "+swiglu"])


@pytest.mark.parametrize("name", catalog.names("recipes"))
def test_every_recipe_resolves_and_says_where_it_comes_from(name: str) -> None:
    recipe = book.entry(name)
    assert resolve([name])
    assert recipe.summary and recipe.source and len(recipe.summary) <= 110


ON_TEXT = ("tiny", "nanogpt-char", "llama-15m", "bert-base")
NEEDS = {
    "reflow": ["objective.coupling.run=runs/teacher"],
    "distil": ["objective.teacher.run=runs/teacher"],
}  # what only the user knows


@pytest.mark.parametrize("name", catalog.names("ideas"))
def test_every_idea_changes_some_recipe(name: str) -> None:
    changed = []
    for base in (catalog.idea(name).on,) if catalog.idea(name).on else ON_TEXT:
        try:
            changed.append(resolve([base, f"+{name}", *NEEDS.get(name, [])]) != resolve([base]))
        except SpecError as error:  # it changes nothing there, or does not go with what is there
            assert str(error) and "validation error" not in str(error)
    assert changed and all(changed)


def test_an_idea_that_changes_nothing_is_refused() -> None:
    with pytest.raises(
        SpecError, match=r"\+bare-qk-norm changes nothing.*model\.mixer\.qk_norm\.when = 'after'"
    ):
        resolve(["tiny", "+bare-qk-norm"])
    with pytest.raises(SpecError, match="changes nothing"):
        resolve(["tiny", "+swiglu", "+swiglu"])


def test_ideas_compose_with_overrides_in_order() -> None:
    both = resolve(["tiny", "+swiglu", "+mqa"])
    assert isinstance(both.model.feed_forward, GLU) and both.model.mixer.kv_heads == 1
    assert resolve(["tiny", "+mqa", "model.mixer.kv_heads=2"]).model.mixer.kv_heads == 2
    assert resolve(["tiny", "model.mixer.kv_heads=2", "+mqa"]).model.mixer.kv_heads == 1
    assert resolve(["tiny", "train.batch=8", "train.batch=16"]).train.batch == 16


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("lr=1e-3", "optimizer.lr=1e-3"),
        ("norm=layer", "model.norm=layer"),
        ("width=64", "model.width=64"),
        ("mixer.heads=2", "model.mixer.heads=2"),
        ("seed=1", "train.seed=1"),
        ("steps=2k", "train.steps=2k"),  # Muon has steps too
        ("tokens=2M", "train.tokens=2M"),  # the data have tokens too
        ("optimizer=lion beta2=0.98", "optimizer=lion optimizer.beta2=0.98"),
        ("nano +swiglu activation=gelu", "nano +swiglu model.feed_forward.activation=gelu"),
        ("corpus=a=b*.txt", "data.corpus=a=b*.txt"),
    ],
)
def test_the_end_of_a_name_is_the_name(short: str, full: str) -> None:
    assert resolve(short) == resolve(full)
    assert in_full(short.split()) == full.split()


def test_another_seed() -> None:
    assert resolve("nano seed=1").seeded(5) == resolve("nano seed=5")
    with pytest.raises(SpecError, match=rf"train.seed: {2**63} is no seed"):
        resolve("nano").seeded(2**63)


def test_a_short_name_is_one_of_the_parts_at_its_place() -> None:
    with pytest.raises(SpecError, match="nesterov is not a field of an experiment"):
        resolve("nano nesterov=true optimizer=sgd")
    assert resolve("nano optimizer=sgd nesterov=true momentum=0.9").optimizer == SGD(nesterov=True)


def test_states_between_two_words_need_not_be_possible() -> None:
    experiment = resolve(["tiny", "model.width=96", "model.mixer.heads=3"])
    assert (experiment.model.width, experiment.model.mixer.heads) == (96, 3)


def test_another_kind_replaces_the_old_mapping_wholly() -> None:
    assert resolve(["tiny", "model.norm.eps=0.5", "model.norm=layer"]).model.norm == LayerNorm()
    assert resolve(["tiny", "model.norm.kind=layer", "model.norm.bias=true"]).model.norm == LayerNorm(
        bias=True
    )
    assert resolve(["tiny", "optimizer={kind: adamw, lr: 1e-3}"]).optimizer == AdamW(lr=1e-3)


def test_the_same_kind_merges() -> None:
    assert resolve(["tiny", "model.norm=rms"]).model.norm == RMSNorm(gain=False)
    assert resolve(["tiny", "model.norm.eps=0.5"]).model.norm == RMSNorm(gain=False, eps=0.5)
    # What two kinds of schedule both have is no reason to forget it.
    schedule = resolve(["tiny", "schedule.warmup=0.5", "schedule.kind=cosine"]).schedule
    assert schedule == Cosine(warmup=0.5, floor=0.0)
    assert resolve(["tiny", "schedule.warmup=0.5", "schedule=cosine"]).schedule == schedule


def test_a_bound_takes_the_place_of_the_inherited_one(write: Write) -> None:
    def bounds(*words: str) -> tuple[object, ...]:
        train = resolve(words).train
        return train.steps, train.tokens, train.seconds

    assert bounds("tiny", "train.steps=10") == (10, None, None)
    assert bounds("tiny", "train.steps=10", "train.seconds=5") == (10, None, 5.0)
    assert bounds("tiny", "train={steps: 10, tokens: 2k}") == (10, 2000, None)
    assert bounds("nanogpt-char", "train.batch=24") == (2000, None, None)
    assert bounds("nanogpt-char", "train.tokens=1M", "train.steps=none") == (None, 1_000_000, None)
    derived = write("derived.yaml", "base: nanogpt-char\ntrain: {seconds: 3, tokens: 4k}\n")
    assert bounds(derived) == (None, 4000, 3.0)
    assert bounds(derived, "train.steps=7") == (7, None, None)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("optimizer.lr=3e-4", 3e-4), ("optimizer.lr=1E-3", 1e-3), ("optimizer.lr=1", 1.0),
        ("optimizer.lr=.5", 0.5),
        ("train.steps=2M", 2_000_000), ("train.steps=64k", 64_000), ("train.steps=1.5k", 1500),
        ("train.steps=1e6", 1_000_000), ("train.steps=1_000", 1000), ("train.steps=010", 10),
        ("train.seed=-1", -1), ("model.mixer.window=none", None), ("model.mixer.window=null", None),
        ("model.position=none", NoPosition()), ("model.position=null", NoPosition()),
        ("model.feed_forward={kind: glu, activation: none}", GLU(activation="none")),
        ("data.corpus=2024", "2024"), ("data.corpus=a/*.txt", "a/*.txt"), ("data.corpus=a=b: c", "a=b: c"),
        ("data.corpus=no", "no"), ("data.corpus=none", "none"), ("data.tokenizer=bpe:512", "bpe:512"),
        ("train.compile=false", False), ("train.compile=auto", "auto"),
    ],
)  # fmt: skip
def test_values_mean_what_they_say(word: str, value: object) -> None:
    found: object = resolve(["nanogpt-char", word])
    for name in word.partition("=")[0].split("."):
        found = getattr(found, name)
    assert found == value and type(found) is type(value)


def test_a_file_over_a_file_over_a_recipe(write: Write) -> None:
    write("low.yaml", "base: tiny\nsummary: mine\nmodel: {layers: 2, width: 64}\n")
    top = write("deep/top.yaml", "base: ../low.yaml\nmodel.layers: 3\n")
    experiment = resolve([top])
    assert (experiment.model.layers, experiment.model.width) == (3, 64)
    assert experiment.optimizer == resolve(["tiny"]).optimizer


def test_bases_that_go_round_are_refused(write: Write) -> None:
    write("a.yaml", "base: b.yaml\n")
    path = write("b.yaml", "base: a.yaml\n")
    with pytest.raises(SpecError, match="base goes round in a circle"):
        resolve([path])


def test_a_file_without_base_stands_on_the_defaults(write: Write) -> None:
    assert resolve([write("empty.yaml", "")]) == Experiment()


def test_paths_of_corpora_stay_relative_to_the_working_directory(write: Write) -> None:
    assert resolve([write("deep/x.yaml", "data: {corpus: texts/a.txt}\n")]).data.corpus == "texts/a.txt"


def test_a_run_is_an_experiment(write: Write) -> None:
    experiment = resolve(["nanogpt-char", "+rms-norm"])
    run = write("run/experiment.yaml", to_yaml(experiment)).removesuffix("experiment.yaml")
    assert resolve([run]) == experiment
    assert difference(experiment, resolve([run, "train.seed=3"])) == [("train.seed", 0, 3)]


def test_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from danlu.spec import resolve, to_yaml, catalog; to_yaml(resolve(['tiny', '+swiglu']));"
        "catalog.ideas(); assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_string_is_split_as_a_shell_would(write: Write) -> None:
    assert resolve("tiny  +swiglu train.batch=8") == resolve(["tiny", "+swiglu", "train.batch=8"])
    assert resolve("data.corpus='my file.txt'").data.corpus == "my file.txt"
    assert resolve("data.corpus=C:\\x#y").data.corpus == "C:\\x#y"
    path = write("a folder/mine.yaml", "train: {steps: 3}\n")
    assert resolve(path).train.steps == 3
    assert resolve("") == resolve()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["+window", "+lru"], r"\+window changes nothing beside \+lru: what it sets is not used"),
        (["+gqa", "+mla"], r"\+gqa changes nothing beside \+mla"),
    ],
)
def test_an_idea_put_out_of_action_is_a_mistake(words, said) -> None:
    with pytest.raises(SpecError, match=said):
        resolve(["tiny", *words])


def test_another_kind_of_model_keeps_the_shape() -> None:
    """The fields that two kinds inherit are carried over; those of their own are not."""
    tiny = resolve(["tiny"]).model
    encoder = resolve(["tiny", "+masked-lm"]).model
    assert encoder.kind == "encoder"
    shared = set(type(tiny).model_fields) & set(type(encoder).model_fields) - {"kind"}
    assert all(getattr(encoder, name) == getattr(tiny, name) for name in shared)


def test_a_pattern_repeats() -> None:
    model = resolve(
        ["tiny", "model.layers=5", "model.pattern=[{window: 8}, {window: full, position: none}]"]
    ).model
    assert [parts.mixer.window for parts in model.parts()] == [8, None, 8, None, 8]
    assert [parts.position.kind for parts in model.parts()] == ["rotary", "none"] * 2 + ["rotary"]


def test_a_file_that_exists_is_no_field(tmp_path: Path) -> None:
    folder = tmp_path / "lr=1e-3"
    folder.mkdir()
    (folder / "experiment.yaml").write_text("base: nano\noptimizer: {lr: 0.5}\n", encoding="utf-8")
    assert resolve([str(folder / "experiment.yaml")]).optimizer.lr == 0.5
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert resolve(["lr=1e-3/experiment.yaml"]).optimizer.lr == 0.5
