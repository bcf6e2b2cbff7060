"""Two processes under torchrun do what one does: the same losses, checkpoints for each other, one voice."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh

from danlu import spec
from danlu.models import build
from danlu.objectives.distil import Distillation
from danlu.spec import resolve
from danlu.spec.errors import DanluError
from danlu.spec.teachers import Teacher
from danlu.train import assemble, checkpoint, store
from danlu.train.callbacks import Callback
from danlu.train.errors import RunError
from danlu.train.load import generate_text, load_run
from danlu.train.parallel import Processes, ToldElsewhere, processes, shard
from danlu.train.run import train
from danlu.train.sharded import load_full
from danlu.train.trainer import Trainer
from tests.models import small as small_model
from tests.train import small
from tests.train.test_resume import Died, at_call, die

RUN = [
    "optimizer=adamw", "train.steps=6", "train.log_every=1", "train.evaluate_every=3",
    "train.checkpoint_every=3", "train.evaluate_tokens=400", "train.keep=5",
]  # fmt: skip
BOUND = 1e-5


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return small.corpus(tmp_path)


def torchrun(folder: Path, corpus: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """A minute run in two processes."""
    return small.torchrun(small.words(corpus, *RUN, *more), folder)


def agree(one: Path, other: Path) -> None:
    here, there = small.rows(one), small.rows(other)
    assert [row["step"] for row in here] == [row["step"] for row in there]
    for a, b in zip(here, there, strict=True):
        assert a.keys() == b.keys()
        for name in ("loss", "grad_norm", "bits_per_byte", "bits_per_byte_bound", "held_out_loss"):
            if name in a:
                assert a[name] == pytest.approx(b[name], rel=BOUND), (name, a, b)
        assert all(a[name] == b[name] for name in ("step", "tokens"))


@pytest.mark.slow
def test_ddp_is_one_process_and_its_run_goes_on_in_one(tmp_path: Path, corpus: Path) -> None:
    done = torchrun(tmp_path / "two", corpus, "train.microbatch=2")  # two passes in each process
    assert done.returncode == 0, done.stderr
    small.run(corpus, tmp_path / "one", *RUN, "train.microbatch=2")
    agree(tmp_path / "two", tmp_path / "one")
    assert done.stderr.count("M parameters") == 1 and done.stdout.count("Try next") == 1
    # From step 3 on in one process: what is left of the run is the same to rounding.
    run = tmp_path / "two"
    (run / "summary.json").unlink()
    shutil.rmtree(run / "checkpoints" / "step-6")
    told = small.Told()
    small.run(corpus, run, *RUN, "train.microbatch=2", told=told)
    assert any("the number of processes: 2 before, 1 now" in text for text in told.messages)
    agree(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        [],
        ["train.microbatch=1"],
        ["train.ramp=[{batch: 2, until: 96 tokens, by: 2}]", "train.microbatch=1"],
        ["data.documents=separate", "model.layers=2"],
        ["+masked-lm", "data.documents=separate", "objective.z_loss=0.01", "train.microbatch=2"],
        ["+masked-diffusion", "objective.z_loss=0.01", "train.microbatch=2"],
        ["+span-corruption", "model.encoder_layers=2"],
        ["model.bottleneck={kind: vq, size: 4, codes: 8, restart: 0.5}", "train.microbatch=1"],
        ["model.bottleneck={kind: gumbel, groups: 2, codes: 4}", "train.microbatch=1"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_are_one(tmp_path: Path, corpus: Path, kind: str, more: list[str]) -> None:
    more = [*more, f"train.parallel={kind}"]
    done = torchrun(tmp_path / "two", corpus, *more)
    assert done.returncode == 0, done.stderr
    small.run(corpus, tmp_path / "one", *RUN, *more)
    agree(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
def test_fsdp_and_one_process_go_on_from_each_other(tmp_path: Path, corpus: Path) -> None:
    more = ["train.parallel=fsdp", "model.layers=2"]
    small.run(corpus, tmp_path / "one", *RUN, *more)
    assert torchrun(tmp_path / "two", corpus, *more).returncode == 0
    record = store.read_content(tmp_path / "two", 6)
    assert record["layout"] == "sharded" and record["processes"] == 2
    loaded = load_run(tmp_path / "two")  # sampled by one process
    whole = checkpoint.load(tmp_path / "one", loaded.step, only={"model"})[0]["model"]
    assert whole.keys() == loaded.model.state_dict().keys()
    for name, tensor in loaded.model.state_dict().items():
        torch.testing.assert_close(tensor, whole[name], rtol=1e-3, atol=1e-5)
    assert len(generate_text(loaded, "the ", count=10))

    for run in ("one", "two"):  # back to step 3
        (tmp_path / run / "summary.json").unlink()
        shutil.rmtree(tmp_path / run / "checkpoints" / "step-6")
    small.run(corpus, tmp_path / "two", *RUN, *more)
    done = torchrun(tmp_path / "one", corpus, *more)
    assert done.returncode == 0 and "resuming after step 3" in done.stderr, done.stderr
    agree(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
def test_a_tensor_parallel_run_is_one_process_s_and_goes_on_in_it(tmp_path: Path, corpus: Path) -> None:
    """Dropout too: both processes have all rows, and masks alike."""
    more = ["train.parallel=fsdp", "model.layers=2", "model.dropout=0.1", "train.microbatch=4"]
    done = torchrun(tmp_path / "two", corpus, *more, "train.mesh.tensor=2")
    assert done.returncode == 0, done.stderr
    small.run(corpus, tmp_path / "one", *RUN, *more)
    agree(tmp_path / "two", tmp_path / "one")
    run = tmp_path / "two"
    (run / "summary.json").unlink()
    shutil.rmtree(run / "checkpoints" / "step-6")
    small.run(corpus, run, *RUN, *more)  # on another mesh
    agree(run, tmp_path / "one")


@pytest.mark.slow
def test_the_same_two_processes_resume_bit_for_bit(tmp_path: Path, corpus: Path) -> None:
    for kind in ("ddp", "fsdp"):
        more = [f"train.parallel={kind}", "model.dropout=0.1", "optimizer=muon"]
        assert torchrun(tmp_path / kind, corpus, *more).returncode == 0
        before = small.left(tmp_path / kind), small.rows(tmp_path / kind)
        (tmp_path / kind / "summary.json").unlink()
        shutil.rmtree(tmp_path / kind / "checkpoints" / "step-6")
        done = torchrun(tmp_path / kind, corpus, *more)
        assert done.returncode == 0 and "resuming after step 3" in done.stderr, done.stderr
        (tensors, state), rows = before
        again, its_state = small.left(tmp_path / kind)
        assert state == its_state and rows == small.rows(tmp_path / kind)
        assert all(torch.equal(tensors[name], again[name]) for name in tensors), kind


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train.clip=0.5"], "train.clip is 1.0 there and 0.5 here"),
        (["train.batch=3"], "train.batch = 3 cannot be shared among 2 processes"),
        (["data.corpus=nowhere.txt"], "there is no corpus 'nowhere.txt'"),
    ],
)
def test_an_error_is_told_once_and_ends_all(
    tmp_path: Path, corpus: Path, words: list[str], said: str
) -> None:
    run = tmp_path / "run"
    if "clip" in words[0]:
        small.run(corpus, run, *RUN)
    done = torchrun(run, corpus, *words)  # and not after the half hour that a group waits
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if line.startswith("danlu:")]
    assert len(told) == 1 and said in told[0], done.stderr
    # The one traceback is torchrun's own, about a process that ended with 2.
    assert done.stderr.count("Traceback") <= 1 and "exitcode  : 2" in done.stderr


@pytest.mark.slow
def test_running_averages_are_the_first_process_s_under_ddp_and_fsdp(tmp_path: Path, corpus: Path) -> None:
    """Each process takes statistics of its own batch, in both; so both evaluate by the same averages."""
    more = ["+masked-lm", "model.norm=batch"]
    for kind in ("ddp", "fsdp"):
        done = torchrun(tmp_path / kind, corpus, *more, f"train.parallel={kind}")
        assert done.returncode == 0, done.stderr
    agree(tmp_path / "ddp", tmp_path / "fsdp")


# ------------------------------------------------------------ one process


def networks() -> dict[str, tuple[Any, tuple[torch.Tensor, ...]]]:
    """What is given coordinates, or times, and what it is given."""
    places = torch.rand(64, 2) * 2 - 1
    return {
        "siren": (build(spec.Siren(width=16, layers=3), 2, 1), (places,)),
        "points": (build(spec.PointMLP(width=16), (2,), 0), (places, torch.rand(64))),
    }


@pytest.mark.parametrize("name", ["siren", "points"])
def test_coordinates_and_times_stay_exact_under_fsdp2(one_process: None, name: str) -> None:
    """Activations are bfloat16, and the outputs are those of a network that is not sharded."""
    found = []
    for sharded in (False, True):
        torch.manual_seed(0)
        model, given = networks()[name]
        for p in model.parameters():  # of which some begin at 0
            p.data += torch.randn_like(p) / 8
        model.compute = torch.bfloat16
        if sharded:
            shard(model, init_device_mesh("cpu", (1,)), "bfloat16")
        found.append(model(*given).detach())
    assert torch.equal(*found)


def test_a_teacher_s_weights_are_copied_into_shards(one_process: None) -> None:
    student, teacher = (small_model.small(seed=seed, double=False) for seed in (0, 1))
    shard(student, init_device_mesh("cpu", (1,)), "float32")
    taught = Distillation(Teacher(run="there", copy_weights=True))
    taught.model = teacher
    taught.begin(student)
    assert taught.copied == sorted(teacher.state_dict())
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensor.full_tensor(), teacher.state_dict()[name]), name


class Copied(Callback):
    """Counts updates in a tensor, of which it gives a copy."""

    name = "copied"

    def __init__(self) -> None:
        self.count = torch.zeros(())

    def after_step(self, run: Any) -> None:
        self.count += 1

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        return {"copied": {"count": self.count.clone()}}

    def load_tensors(self, tensors: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        self.count = tensors["copied"]["count"].clone()


@pytest.mark.slow
def test_a_callback_of_a_sharded_run_goes_on(
    tmp_path: Path, corpus: Path, one_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so does an average of the weights, which lies in shards."""

    def distribute(make: Any, kind: str, group: Processes, precision: str) -> tuple[Any, Any]:
        model = make()
        shard(model, init_device_mesh("cpu", (1,)), precision)
        return model, model

    monkeypatch.setattr(assemble, "distribute", distribute)
    more = ["train.average={kind: ema, decay: 0.5}"]
    experiment = resolve(small.words(corpus, *RUN, *more))
    for name in ("whole", "cut"):
        with monkeypatch.context() as patch, small.quick(), suppress(Died):
            if name == "cut":
                at_call(patch, Trainer, "step", 5, die)
            train(experiment, tmp_path / name, small.Told(), callbacks=[Copied()], sample=False)
    with small.quick():
        train(experiment, tmp_path / "cut", small.Told(), callbacks=[Copied()], sample=False)
    found = [load_full(tmp_path / name)[0] for name in ("whole", "cut")]
    assert float(found[0]["copied/count"]) == 6
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_who_waits_for_another_waits_for_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it prepares data or trains a teacher, of which gloo alone allows half an hour."""

    class Asked(Exception):
        pass

    def init(backend: str, **named: Any) -> None:
        assert named["timeout"].days >= 1
        raise Asked

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.distributed, "init_process_group", init)
    with pytest.raises(Asked), processes(torch.device("cpu")):
        pass


def test_one_process_needs_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with processes(torch.device("cpu")) as group:
        assert (group.rank, group.count, group.first) == (0, 1, True)
        assert group.share("x") == "x" and float(group.sum(torch.tensor(2.0))) == 2
        assert group.only_first(lambda: 3) == 3
        with pytest.raises(RunError, match="why"):
            group.on_first(lambda: (_ for _ in ()).throw(RunError("why")))


def test_the_others_are_silent_about_what_the_first_tells() -> None:
    error = RunError("why")
    assert Processes(0, 2, torch.device("cpu")).once(error) is error
    silent = Processes(1, 2, torch.device("cpu")).once(error)
    assert isinstance(silent, ToldElsewhere) and isinstance(silent, DanluError)
    assert str(silent) == "" and silent.exit_code == error.exit_code
