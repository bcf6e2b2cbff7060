"""Every mistake is answered by its field, its value, what is allowed, and the nearest spelling."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from danlu.spec import SpecError, resolve, validate

Write = Callable[[str, str], str]

CASES = {
    # unknown fields
    "optimizer.lrr=1": [
        "optimizer.lrr is not a field of optimizer (kind muon)",
        "did you mean optimizer.lr?",
    ],
    "learning_rate=3e-4": ["learning_rate is not a field of an experiment", "did you mean optimizer.lr?"],
    "laers=3": ["laers is not a field of an experiment", "did you mean model.layers?"],
    "mixer.widow=3": ["model.mixer.widow is not a field of model.mixer", "did you mean model.mixer.window?"],
    "mixxer.window=3": ["mixxer is not a field of an experiment", "did you mean model.mixer?"],
    "eps=1": ["eps may be model.mixer.qk_norm.eps, model.norm.eps or optimizer.eps; write the full name"],
    "model.window=8": ["model.window is not a field", "did you mean model.mixer.window?"],
    "n_layer=3": ["n_layer is not a field", "did you mean model.layers?"],
    # the field's names of what danlu calls otherwise
    "train.max_grad_norm=1": ["did you mean train.clip?"],
    "train.activation_checkpointing=true": ["did you mean train.recompute?"],
    "train.batch_size_warmup=1k": ["did you mean train.ramp?"],
    "train.gradient_accumulation_steps=2": ["did you mean train.microbatch?"],
    "model.norm.weight=true": ["did you mean model.norm.gain?"],
    "model.lm_head_bias=true": ["did you mean model.readout_bias?"],
    "model.eps=1": ["model.eps is not a field", "model.norm.eps"],
    "modle.width=3": ["modle is not a field of an experiment", "did you mean model?"],
    "model.norm.bias=true": ["model.norm.bias is not a field of model.norm (kind rms)", "model.norm=layer"],
    "schedule.zzz=1": ["schedule.zzz is not a field of schedule (kind linear).", "Fields: warmup, "],
    # types
    "train.steps=many": ["train.steps = 'many' is not a whole number greater than 0, or none"],
    "train.steps=10.5": ["train.steps = 10.5 is not a whole number greater than 0"],
    "train.steps=1.2345k": ["train.steps = '1.2345k' is not a whole number"],
    "train.seed=true": ["train.seed = true is not a whole number"],
    "model.layers=true": ["model.layers = true is not a whole number greater than 0"],
    "optimizer.lr=true": ["optimizer.lr = true is not a number greater than 0"],
    "optimizer.lr=nan": ["optimizer.lr = 'nan' is not a number greater than 0"],
    "optimizer.lr=" + "9" * 400: ["optimizer.lr = '999", "a number of more than 100 digits"],
    "optimizer.lr=1e999": ["optimizer.lr = .inf is not a number greater than 0"],
    "model.tied=1": ["model.tied = 1 is not true or false"],
    "model.tied=yes": ["model.tied = 'yes' is not true or false"],
    "train.compile=sometimes": ["train.compile = 'sometimes' is not auto, true or false"],
    "train.device=mps": ["train.device: mps is not supported", "Mac", "allowed: auto, cpu, cuda"],
    "data=3": ["data = 3 is not text, digits, eight-gaussians"],
    "model.mixer.heads.x=3": ["model.mixer.heads = {x: 3} is not a whole number"],
    # bounds
    "train.batch=0": ["train.batch = 0 is not a whole number greater than 0"],
    "model.dropout=1.0": ["model.dropout = 1.0 is not a number at least 0 and less than 1"],
    "schedule.warmup=2": ["schedule.warmup: 2 is not a share of the run", "'2000 steps' or '375M tokens'"],
    "schedule.warmup=2 stps": ["schedule.warmup: '2 stps' is not a share of the run from 0 to 1"],
    "schedule.warmup=1.5 steps": ["schedule.warmup: '1.5 steps' is not a share of the run from 0 to 1"],
    "schedule.warmup=true": ["schedule.warmup: true is not a share of the run from 0 to 1"],
    "schedule.warmup=[1]": ["schedule.warmup: [1] is not a duration such as 0.02, '2000 steps'"],
    "schedule.floor=2": ["schedule.floor = 2", "is not a number at least 0 and at most 1"],
    # kinds and words
    "optimizer=admw": ["optimizer.kind = 'admw' is not ", "did you mean adamw?"],
    "model.norm=3": ["model.norm = 3 is not rms, layer, group"],
    "model.norm=nothing": ["model.norm.kind = 'nothing' is not rms, layer, group"],
    "schedule.kind=cosin": ["schedule.kind = 'cosin' is not constant, linear, cosine", "mean cosine?"],
    "model.kind=decodr": ["model.kind = 'decodr' is not decoder", "did you mean decoder?"],
    # combinations: the validators' own sentences, with whole names
    "model.mixer.heads=3": ["model.mixer.heads = 3 does not divide model.width = 128"],
    "model.mixer.kv_heads=3": [
        "model.mixer.kv_heads = 3 does not divide model.mixer.heads = 4; allowed: 1, 2, 4"
    ],
    "model.mixer.window=999": ["model.mixer.window = 999 is longer than data.context = 128"],
    "train.microbatch=5": ["train.microbatch = 5 does not divide train.batch = 8"],
    "train.ramp=[{batch: 4, until: 9 steps, by: 3}]": [
        "train.ramp.0.by = 3 does not lead from 4 sequences to 8"
    ],
    "train.ramp=[{batch: 8, until: 9 steps, by: 4}]": [
        "train.ramp.0.by = 4 does not lead from 8 sequences to 8"
    ],
    "train.ramp=[{batch: 4, until: 0 steps}]": ["train.ramp.0.until = 0 steps must be later than what comes"],
    "train.ramp=[{batch: 2, until: 0.1}, {batch: 4, until: 9 steps}]": [
        "train.ramp.1.until = 9 steps must be"
    ],
    "schedule={kind: rsqrt, warmup: 0}": ["schedule.hold = none with schedule.warmup = 0.0 leaves nothing"],
    "schedule={kind: amos, half: 0 steps}": ["schedule.half = 0 steps leaves no time to fall"],
    "schedule={kind: pieces, pieces: [{to: 2}]}": ["schedule.pieces.0.to = 2.0 is above the peak"],
    "schedule={kind: pieces, pieces: [{}, {to: 0}]}": ["schedule.pieces.0 lasts to the end of the run"],
    "schedule={kind: pieces, pieces: [{until: 0.2}, {until: 0.1}]}": [
        "schedule.pieces.1.until = 0.1 is not later than what comes before it"
    ],
    "vary=[{setting: beta3}]": ["vary.0.setting = beta3 is not a number of optimizer (kind muon); allowed: "],
    "vary=[{setting: lr}]": ["vary.0.setting = lr follows the schedule"],
    "vary=[{setting: beta2, start: 1}]": ["vary.0 takes beta2 to 1.0: input should be less than 1"],
    "vary=[{setting: eps}, {setting: eps}]": ["vary.1.setting = eps is there twice"],
    "vary=[{setting: weight_decay}]": ["in proportion to optimizer.weight_decay, which is 0"],
    "train.seconds=none": ["nothing bounds the run", "train.steps, train.tokens, train.seconds"],
    # words
    "tinny": ["no recipe, YAML file or run named tinny", "did you mean tiny? danlu recipes lists them"],
    "swiglu": ["no recipe", "did you mean the idea +swiglu?"],
    "+swigul": ["there is no idea named swigul", "did you mean +swiglu?"],
    "train.steps=": ["train.steps has no value", "train.steps=none"],
    "optimizer={lr: [1": ["optimizer = '{lr: [1': line 1: not readable as YAML"],
    "train..steps=3": ["train..steps is not a field: a dot needs a name on either side"],
    "absent.yaml": ["absent.yaml is missing"],
}


@pytest.mark.parametrize("word", CASES)
def test_a_mistake_is_named(word: str) -> None:
    with pytest.raises(SpecError) as caught:
        resolve([word])
    said = str(caught.value)
    for part in CASES[word]:
        assert part in said
    assert len(said.splitlines()) == 1
    assert not any(jargon in said for jargon in ("pydantic", "input_value", "http", "Input should", "tag"))


@pytest.mark.parametrize(
    ("word", "said"),
    [("swiglu", "did you mean +swiglu?"), ("gpt2-124m", "a recipe comes first"), ("lr", "is neither +idea")],
)
def test_a_stray_word_after_the_first(word: str, said: str) -> None:
    with pytest.raises(SpecError, match="neither") as caught:
        resolve(["tiny", word])
    assert said in str(caught.value)


def test_every_problem_has_its_line() -> None:
    with pytest.raises(SpecError) as caught:
        resolve(["tiny", "model.widht=3", "train.batch=0", "optimizer=admw"])
    assert [line.split(" ")[0] for line in str(caught.value).splitlines()] == [
        "model.widht", "optimizer.kind", "train.batch",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train:\n  steps: 3\n  steps: 4\n", "line 3: steps is given twice"),
        ("train: {steps: 3}\ntrain.steps: 4\n", "train.steps is given twice"),
        ("train:\n\tsteps: 3\n", "line 2: not readable as YAML"),
        ("train: [1\n", "not readable as YAML"),
        ("3: 4\n", "line 1: the key 3 is not text"),
        ("- 1\n- 2\n", "holds [1, 2], not a mapping"),
        ("just words\n", "holds 'just words', not a mapping"),
        ("train: &a {steps: *a}\n", "line 1: aliases (*a) are not read here"),
        ("train: !!python/object/apply:os.getcwd []\n", "not readable as YAML"),
        ("train: {stepz: 3}\n", "train.stepz is not a field of train; did you mean train.steps?"),
        ("train:\n", "train = none is not a mapping of steps, "),
        ("base: 3\n", "base = 3 is not the name of a recipe or a file"),
        ("data: {corpus: 2024}\n", "data.corpus = 2024 is not text"),
    ],
)
def test_a_file_is_named_with_its_mistake(write: Write, text: str, said: str) -> None:
    path = write("mine.yaml", text)
    with pytest.raises(SpecError) as caught:
        resolve([path])
    assert str(caught.value).startswith(path)
    assert said in str(caught.value)


@pytest.mark.parametrize("wrong", ["3", "[1]", "true", "text", ""])
def test_what_is_laid_over_a_mistake_does_not_hide_it(write: Write, wrong: str) -> None:
    path = write("mine.yaml", f"train: {wrong}\n")
    with pytest.raises(SpecError, match=r"mine\.yaml: train = .* is not a mapping of steps"):
        resolve([path, "train.steps=3", "train.batch=4"])


def test_a_file_that_is_not_text(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("binary") / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(SpecError, match="not text in UTF-8"):
        resolve([str(path)])


def test_folders_and_other_files(write: Write) -> None:
    notes = write("folder/notes.txt", "hello")
    with pytest.raises(SpecError, match="not a YAML file"):
        resolve([notes])
    with pytest.raises(SpecError, match=r"is not a run's folder: it has no experiment\.yaml"):
        resolve([notes.removesuffix("notes.txt")])


def test_a_mapping_from_python_is_checked_alike() -> None:
    with pytest.raises(SpecError, match=r"did you mean optimizer\.lr"):
        validate({"optimizer.lrr": 3.0})


@pytest.mark.parametrize("idea", ["pfgm", "pfgm-plus", "tanh-kernel", "exponential-kernel"])
def test_an_idea_that_does_not_fit_comes_with_the_command_that_does(idea: str) -> None:
    with pytest.raises(SpecError) as refused:
        resolve(["flow-8gaussians", f"+{idea}"])
    command = re.search(r"; by default \S+ is tried on \S+: danlu train (.*)$", str(refused.value))
    assert command is not None
    found = resolve(command[1])
    assert found.objective.kind == "denoise" and f"+{idea}" in command[1]


def test_no_command_where_it_would_need_more() -> None:
    """A reflow names the run that it learns from."""
    with pytest.raises(SpecError, match=r"; by default \+reflow is tried on flow-8gaussians$"):
        resolve(["denoise-8gaussians", "+reflow"])


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("flow-8gaussians model.mixer.heads=2", None),  # a flow of points has no decoder
        ("flow-8gaussians +qk-norm", None),
        ("flow-8gaussians objective.z_loss=1e-4", None),
        ("digits-mlp model.mixer.qk_norm=rms", "write model.mixer=attention first"),
        ("nano model.norm.bias=true", "write model.norm=layer first"),
    ],
)
def test_another_kind_is_advised_where_it_can_be_had(words: str, advice: str | None) -> None:
    with pytest.raises(SpecError) as caught:
        resolve(words)
    said = str(caught.value)
    assert advice in said if advice else "write" not in said and "which does not go with the rest" in said
