"""A run that another teaches goes the whole way: costs counted, resumed, divided, tried, refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from danlu import code
from danlu.data import prepare
from danlu.lab.budget import flops_per_token
from danlu.lab.measures import of_run
from danlu.lab.quantized import Settings, quantize_folder
from danlu.lab.queue import Job
from danlu.spec import resolve
from danlu.spec.replay import to_yaml
from danlu.train import taught, teacher
from danlu.train.assemble import objective_of
from danlu.train.errors import RunError
from danlu.train.folder import RunFolder
from danlu.train.load import LoadedRun, load_run
from danlu.train.parallel import ALONE
from tests.train import small
from tests.train.test_resume import dies_and_goes_on

RUN = [
    "optimizer=adamw", "train.steps=8", "train.log_every=1", "train.evaluate_tokens=400",
    "train.checkpoint_every=2", "train.compile=false",
]  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, and two teachers: ``big``, twice as wide, and ``other``."""
    folder = tmp_path_factory.mktemp("world")
    corpus = small.corpus(folder)
    small.run(corpus, folder / "big", *RUN, "model.width=32")
    small.run(corpus, folder / "other", *RUN, "model.width=32", "train.seed=1")
    return folder


def words(world: Path, *more: str, teacher: str = "big") -> list[str]:
    run = f"objective.teacher.run={world / teacher}"
    return small.words(world / "corpus.jsonl", *RUN, "+distil", run, *more)


def test_it_resumes_bit_for_bit_and_counts_its_teacher(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = resolve(words(world))
    summary = small.go(experiment, tmp_path / "whole")
    dies_and_goes_on(experiment, tmp_path / "cut", monkeypatch)
    small.assert_same(tmp_path / "whole", tmp_path / "cut")
    plain = resolve(small.words(world / "corpus.jsonl", *RUN))
    wide = flops_per_token(resolve([*small.words(world / "corpus.jsonl", *RUN), "model.width=32"]))
    # A forward pass is a third of a whole one; both counts are whole numbers.
    assert abs(flops_per_token(experiment) - flops_per_token(plain) - wide / 3) <= 1
    assert summary["flops"] == flops_per_token(experiment) * summary["tokens"]
    teacher = json.loads((tmp_path / "whole" / "environment.json").read_text())["teacher"]
    before = json.loads((world / "big" / "summary.json").read_text())
    assert teacher["training_flops"] == before["flops"]
    names = ["flops", "flops-with-teacher", "seconds", "seconds-with-teacher"]
    found = of_run(tmp_path / "whole", names)
    assert found["flops-with-teacher"] == found["flops"] + before["flops"]
    assert found["seconds-with-teacher"] == pytest.approx(
        found["seconds"] + sum(before["active_seconds"].values()), abs=1e-2
    )


def test_a_teacher_counts_by_its_weights_and_not_by_its_place(world: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.symlink_to(world / "big")
    here, there = (Job(resolve(words(world, teacher=name))).hash for name in ("big", str(moved)))
    assert here == there != Job(resolve(words(world, teacher="other"))).hash
    reflow = ["flow-8gaussians", "+reflow"]
    one, two = (
        Job(resolve([*reflow, f"objective.coupling.run={path}"])).hash for path in (world / "big", moved)
    )
    assert one == two != Job(resolve([*reflow, f"objective.coupling.run={world / 'other'}"])).hash


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["data.tokenizer=characters"], "it has another tokenizer"),
        (["data.context=32"], r"it was trained on contexts of 16, and data\.context = 32"),
        (["objective.teacher.blocks=3", "model.layers=5"], r"this network has 5 layers of width"),
        (["objective.teacher.run=runs/nothing"], r"objective\.teacher\.run = runs/nothing: .* is not a run"),
    ],
)
def test_what_cannot_teach_leaves_a_sentence(world: Path, tmp_path: Path, more: list[str], said: str) -> None:
    with pytest.raises(RunError, match=said):
        small.go(resolve(words(world, *more)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_another_objective_is_refused_before_the_data_are_read(world: Path, tmp_path: Path) -> None:
    teacher = RunFolder.create_or_open(tmp_path / "teacher", to_yaml(resolve(["bigram-backcopy"])))
    teacher.close()
    taught = words(world, f"objective.teacher.run={teacher.path}", f"data.corpus={tmp_path / 'none'}")
    said = "its objective is bigram-backcopy, and this run's is causal; name a teacher with objective=causal"
    with pytest.raises(RunError, match=said):
        small.go(resolve(taught), tmp_path / "run")


def test_what_was_said_is_kept_by_the_code_that_said_it(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = resolve(words(world, "objective.teacher.top=3", "objective.teacher.cache=true"))
    found = []
    for digest in ("one", "one", "other"):
        monkeypatch.setattr(code, "loaded", lambda digest=digest: SimpleNamespace(tier_a=digest))
        objective = objective_of(experiment, prepare(experiment.data))
        teacher.keep(experiment, objective, "weights")
        found.append(objective.taught.kept.folder)
    assert found[0] == found[1] != found[2]


def test_a_teacher_may_hold_a_number_that_is_no_vector(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a user's own part may have."""

    def loaded(path: Path) -> LoadedRun:
        run = load_run(path)
        run.model.register_buffer("number", torch.tensor(1.0))
        return run

    monkeypatch.setattr(teacher, "load_run", loaded)
    experiment = resolve(words(world))
    objective = objective_of(experiment, prepare(experiment.data))
    assert len(teacher.teach(experiment, objective, ALONE)["weights"]) == 64


def test_words_stand_for_an_experiment_and_paths_for_a_folder(world: Path) -> None:
    assert taught.words_of("tiny model.width=32", 3) == ["tiny", "model.width=32", "train.seed=10003"]
    assert taught.words_of("tiny train.seed=5", 3) == ["tiny", "train.seed=5"]
    assert taught.words_of("tiny", 0) == ["tiny", "train.seed=10000"]
    assert taught.words_of(str(world / "big"), 0) is None is taught.words_of("runs/nothing", 0)


@pytest.mark.slow
def test_without_weight_a_run_is_the_run_without_a_teacher(world: Path, tmp_path: Path) -> None:
    small.go(resolve(words(world, "objective.teacher.weight=0")), tmp_path / "taught")
    small.run(world / "corpus.jsonl", tmp_path / "plain", *RUN)
    assert small.losses(tmp_path / "taught") == small.losses(tmp_path / "plain")
    (one, _), (two, _) = small.left(tmp_path / "taught"), small.left(tmp_path / "plain")
    assert all(one[name].equal(two[name]) for name in two)


VARIANTS = [
    ["objective.teacher.on_policy=0.5", "objective.teacher.divergence={kind: jsd, beta: 0.3}"],
    ["objective.teacher.top=8", "objective.teacher.divergence=reverse",
     "objective.teacher.cache=true"],
    ["model.width=32", "model.mixer=lru", "model.position=none", "objective.teacher.blocks=3",
     "objective.teacher.copy_weights=true"],
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("more", VARIANTS, ids=["on-policy", "top", "lru"])
def test_variants_resume_and_accumulate(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    experiment = resolve(words(world, *more))
    small.go(experiment, tmp_path / "whole")
    dies_and_goes_on(experiment, tmp_path / "cut", monkeypatch)
    small.assert_same(tmp_path / "whole", tmp_path / "cut")
    small.go(resolve(words(world, *more, "train.microbatch=2")), tmp_path / "parts")
    small.close(small.losses(tmp_path / "whole"), small.losses(tmp_path / "parts"), 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["train.parallel=fsdp"]], ids=["ddp", "fsdp"])
def test_two_processes_do_what_one_does(world: Path, tmp_path: Path, more: list[str]) -> None:
    small.assert_two_are_one([*words(world), *more], tmp_path)


@pytest.mark.slow
def test_a_teacher_in_words_is_trained_once(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    text = " ".join(
        f'"{word}"' if " " in word else word for word in small.words(world / "corpus.jsonl", *RUN)
    )
    more = f"objective.teacher.run={text.replace(chr(34), chr(39))}"
    for name in ("one", "two"):
        small.go(resolve(words(world, more, "train.seed=4")), tmp_path / name)
    small.assert_same(tmp_path / "one", tmp_path / "two")
    (teacher,) = (tmp_path / "cache" / "teachers").glob("*/experiment.yaml")
    assert "seed: 10004" in teacher.read_text()


HIDDEN = ["objective.teacher.hidden.weight=0.5", "model.layers=2"]


def test_hidden_states_resume_and_leave_nothing_behind(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The maps are kept for going on, and are in no folder that is written, no count, no loaded network."""
    experiment = resolve(words(world, *HIDDEN, "train.average=ema"))
    summary = small.go(experiment, tmp_path / "whole")
    dies_and_goes_on(experiment, tmp_path / "cut", monkeypatch)
    small.assert_same(tmp_path / "whole", tmp_path / "cut")
    tensors, _ = small.left(tmp_path / "whole")
    maps = [tensors[f"model/teacher_maps.weights.{i}"] for i in range(2)]
    first = small.left(tmp_path / "whole", 6)[0]["model/teacher_maps.weights.0"]
    assert all(one.shape == (32, 16) for one in maps) and not torch.equal(maps[0], first)
    for averaged in (True, False):
        model = load_run(tmp_path / "whole", averaged=averaged).model
        assert not any("teacher" in name for name in model.state_dict())
    assert summary["parameters"] == sum(p.numel() for p in model.parameters())
    found = quantize_folder(tmp_path / "whole", Settings.of("int8"), tmp_path / "few")
    assert found["kl"] < 1e-2
    assert not any("teacher_maps" in name for name in small.left(tmp_path / "few")[0])
    plain = resolve(small.words(world / "corpus.jsonl", *RUN, "model.layers=2"))
    wide = flops_per_token(resolve([*small.words(world / "corpus.jsonl", *RUN), "model.width=32"]))
    more = flops_per_token(experiment) - flops_per_token(plain) - wide / 3
    assert abs(more - 2 * 6 * 32 * 16) <= 1  # two maps, forward and backward


@pytest.mark.slow
def test_hidden_states_on_two_processes_and_in_parts(world: Path, tmp_path: Path) -> None:
    small.assert_two_are_one(words(world, *HIDDEN), tmp_path)
    small.go(resolve(words(world, *HIDDEN, "train.microbatch=2")), tmp_path / "parts")
    small.close(small.losses(tmp_path / "one"), small.losses(tmp_path / "parts"), 1e-4)
