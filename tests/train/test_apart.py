"""Workers that train apart (``train.outer``): identities in float64, checkpoints, several processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from danlu import data, spec
from danlu.objectives import Objective
from danlu.optim.outer import pairs
from danlu.spec import resolve
from danlu.spec.errors import SpecError
from danlu.train import assemble, checkpoint, communication, store
from danlu.train import run as runs
from danlu.train.apart import Apart
from danlu.train.callbacks import Callback
from danlu.train.errors import Diverged, RunError
from danlu.train.population import refusal
from danlu.train.trainer import Trainer
from tests.conftest import LIMIT, ROOT
from tests.train import apart_alone, small, test_kill
from tests.train.apart_alone import exactly, go, weights

TIGHT = {"rtol": 0.0, "atol": 1e-12}
RUN = ["optimizer=adamw", "train.steps=12", "train.log_every=1", "train.evaluate_tokens=400"]
SGD = ["optimizer={kind: sgd, lr: 0.5, momentum: 0.0}", "train.clip=0"]
KINDS = {
    "diloco": "{kind: diloco, workers: 4, every: 5}",
    "streaming": "{kind: diloco, workers: 4, every: 8, fragments: 2, delay: 2, mix: 0.5}",
    "4bit": "{kind: diloco, workers: 4, every: 5, bits: 4}",
    "2bit": "{kind: diloco, workers: 4, every: 5, bits: 2, levels: statistical, feedback: 0.9}",
    "eager": "{kind: eager, workers: 4, every: 5}",
    "noloco": "{kind: noloco, workers: 4, every: 5}",
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.corpus(tmp_path_factory.mktemp("apart"))


@pytest.fixture(scope="module")
def objective(corpus: Path) -> Objective:
    experiment = resolve(small.words(corpus))
    return assemble.objective_of(experiment, data.prepare(experiment.data))


def trained(corpus: Path, objective: Objective, steps: int, *more: str) -> dict[str, torch.Tensor]:
    """The global weights after ``steps`` updates in float64."""
    update = exactly(resolve(small.words(corpus, *more)), objective)
    go(update, steps)
    return weights(update)


# ------------------------------------------------------------ identities


@pytest.mark.parametrize("kind", ["diloco", "eager"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_one_worker_at_rate_one_is_the_inner_run(
    corpus: Path, objective: Objective, kind: str, optimizer: str
) -> None:
    more = [f"optimizer={optimizer}", "model.dropout=0.1", "train.microbatch=4"]
    outer = f"train.outer={{kind: {kind}, workers: 1, every: 3, lr: 1.0, momentum: 0.0}}"
    alone = trained(corpus, objective, 8, *more)
    found = trained(corpus, objective, 8, *more, outer)
    torch.testing.assert_close(found, alone, **TIGHT)


@pytest.mark.parametrize("workers", [2, 4, 8])
def test_averaging_sgd_at_every_step_is_data_parallel(
    corpus: Path, objective: Objective, workers: int
) -> None:
    outer = f"train.outer={{kind: diloco, workers: {workers}, every: 1, lr: 1.0, momentum: 0.0}}"
    alone, found = trained(corpus, objective, 6, *SGD), trained(corpus, objective, 6, *SGD, outer)
    torch.testing.assert_close(found, alone, **TIGHT)


def test_workers_keep_states_of_their_own(corpus: Path, objective: Objective) -> None:
    """Adam's moments are those of each one's own gradients; the rules have none themselves."""
    update = exactly(
        resolve(small.words(corpus, "optimizer=adamw", "train.outer={kind: diloco, workers: 2, every: 4}")),
        objective,
    )
    assert isinstance(update, Apart)
    go(update, 3)
    one, other = ({p: s for rule in states for p, s in rule.items()} for states in update.workers.states)
    assert one.keys() == other.keys() and len(one) == len(update.named)
    assert all(not torch.equal(one[p]["exp_avg"], other[p]["exp_avg"]) for p in one if p.ndim > 1)
    assert not any(rule.state for rule in update.made.rules)


def test_workers_see_other_rows_and_their_mean_loss_is_the_batchs(corpus: Path, objective: Objective) -> None:
    """Before the first update all have the same weights."""
    alone = exactly(resolve(small.words(corpus)), objective).gradients(0, 0, 8)
    update = exactly(resolve(small.words(corpus, "train.outer={kind: diloco, workers: 4}")), objective)
    assert isinstance(update, Apart)
    read = update.gradients(0, 0, 8)
    assert read.loss == pytest.approx(alone.loss, rel=1e-12)
    norms = update.norms.tolist()
    assert read.norm == pytest.approx(sum(norms) / 4, rel=1e-12) and len(set(norms)) == 4
    joint = torch.zeros(())
    for k in range(len(update.named)):
        each = [grads[k] for grads in update.grads]
        joint = joint + torch.stack([g for g in each if g is not None]).mean(0).square().sum()
    assert float(joint.sqrt()) == pytest.approx(alone.norm, rel=1e-9)


def test_each_worker_is_clipped_by_its_own_norm(corpus: Path, objective: Objective) -> None:
    """A step of SGD at rate 1 is the clipped gradient: no worker moves further than ``train.clip``."""
    more = ["optimizer={kind: sgd, lr: 1.0, momentum: 0.0}", "schedule={kind: constant, warmup: 0.0}"]
    update = exactly(
        resolve(small.words(corpus, *more, "train.clip=0.25", "train.outer={kind: diloco, workers: 4}")),
        objective,
    )
    assert isinstance(update, Apart)
    before = [t.clone() for t in update.workers.outer.theta]
    read = update.gradients(0, 0, 8)
    norms = update.norms.tolist()
    update.apply(0, read)
    for norm, mine in zip(norms, update.workers.weights, strict=True):
        moved = torch.cat([(w - t).flatten() for w, t in zip(mine, before, strict=True)]).norm().item()
        assert moved == pytest.approx(min(norm, 0.25), rel=1e-5)


# ------------------------------------------------------------ runs


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind == "eager" else pytest.mark.slow) for kind in KINDS]
)
def test_a_run_learns_and_is_evaluated_by_its_global_weights(tmp_path: Path, corpus: Path, kind: str) -> None:
    more = ["model.layers=2", "train.steps=30", f"train.outer={KINDS[kind]}"]
    summary = small.run(corpus, tmp_path / "run", *RUN, *more)
    losses = small.losses(tmp_path / "run")
    assert losses[-1] < losses[0] - 0.2
    tensors, _ = small.left(tmp_path / "run")
    assert {name.split("/")[1] for name in tensors if name.startswith("workers/")} == set("0123")
    loaded = checkpoint.load(tmp_path / "run", only={"model"})[0]["model"]
    mean = {
        name: torch.stack([tensors[f"workers/{m}/weights/{name}"] for m in range(4)]).mean(0)
        for name in loaded
        if f"workers/0/weights/{name}" in tensors
    }
    assert mean
    for name, tensor in mean.items():
        torch.testing.assert_close(loaded[name], tensor, rtol=1e-5, atol=1e-6)
    assert summary["steps"] == 30 and summary["tokens"] == 30 * 8 * 16


def test_a_look_inside_is_at_the_first_worker_and_changes_nothing(tmp_path: Path, corpus: Path) -> None:
    """With one worker it is that of a run without rounds, but where a round ends."""
    one = "train.outer={kind: diloco, workers: 1, every: 4, lr: 1.0, momentum: 0.0}"
    runs = {"plain": [], "seen": [one], "unseen": [one]}
    found = {}
    for name, more in runs.items():
        every = [] if name == "unseen" else ["train.internals_every=3"]
        small.run(corpus, tmp_path / name, *RUN, *more, *every)
        found[name] = [row["inside"] for row in small.rows(tmp_path / name) if "inside" in row]
    assert len(found["plain"]) == len(found["seen"]) == 5 and not found["unseen"]
    for plain, seen in zip(found["plain"], found["seen"], strict=True):
        assert plain.keys() == seen.keys() and any(name.startswith("update/") for name in seen)
        for name, value in plain.items():
            assert seen[name] == pytest.approx(value, rel=1e-2, abs=1e-4), name
    assert small.losses(tmp_path / "seen") == small.losses(tmp_path / "unseen")


def test_global_weights_change_at_the_end_of_a_round_alone(tmp_path: Path, corpus: Path) -> None:
    more = ["train.outer={kind: diloco, workers: 2, every: 4}", "train.evaluate_every=1", "train.steps=8"]
    small.run(corpus, tmp_path / "run", *RUN, *more)
    seen = [row["bits_per_byte"] for row in small.rows(tmp_path / "run") if "bits_per_byte" in row]
    assert len(seen) == 8
    assert seen[0] == seen[1] == seen[2] != seen[3] == seen[4] == seen[6] != seen[7]


def test_what_is_saved_is_what_was_evaluated_where_a_callback_ends_a_run_in_a_round(
    tmp_path: Path, corpus: Path
) -> None:
    class Enough(Callback):
        def after_evaluation(self, run: Trainer, metrics: dict[str, float]) -> None:
            if run.state.step == 6:
                run.end()

    more = ["train.outer={kind: diloco, workers: 2, every: 4}", "train.evaluate_every=1", "train.steps=8"]
    more += ["train.checkpoint_every=4", "train.keep=9"]
    experiment = resolve(small.words(corpus, *RUN, *more))
    with small.quick():
        summary = runs.train(experiment, tmp_path / "run", small.Told(), callbacks=[Enough()])
    assert summary is not None and summary["steps"] == 6
    ends, here = (small.left(tmp_path / "run", step)[0] for step in (4, 6))
    names = [name for name in here if name.startswith("model/")]
    assert names and all(torch.equal(here[name], ends[name]) for name in names)


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind == "streaming" else pytest.mark.slow) for kind in KINDS]
)
def test_a_run_that_is_killed_in_a_round_goes_on_bit_for_bit(tmp_path: Path, corpus: Path, kind: str) -> None:
    """A checkpoint of every update but the last is gone back to; the rest is the same."""
    dropout = 0.1 if kind in ("eager", "4bit") else 0.0  # with it, each has passes of its own
    more = ["model.layers=2", "optimizer=muon", f"model.dropout={dropout}", f"train.outer={KINDS[kind]}"]
    more += ["train.checkpoint_every=1", "train.keep=20", "train.evaluate_every=3", "train.steps=11"]
    small.run(corpus, tmp_path / "whole", *RUN, *more)
    for back in (3, 7):
        folder = tmp_path / f"from-{back}"
        shutil.copytree(tmp_path / "whole", folder)
        (folder / "summary.json").unlink()
        for step in store.list_steps(folder):
            if step > back:
                shutil.rmtree(store.step_folder(folder, step))
        small.run(corpus, folder, *RUN, *more)
        small.assert_same(tmp_path / "whole", folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["streaming", "noloco"])
def test_deaths_leave_no_trace(tmp_path: Path, kind: str) -> None:
    words = small.words(small.corpus(tmp_path), *test_kill.RUN, "train.average=none", "train.weights=float32")
    words = [word for word in words if "microbatch" not in word]
    told = test_kill.killed(tmp_path, 6, [*words, "model.layers=2", f"train.outer={KINDS[kind]}"])
    assert {"before gradients", "before apply", "before publish"} <= set(told["places"])


def test_what_is_not_finite_is_of_a_worker(corpus: Path, objective: Objective) -> None:
    update = exactly(resolve(small.words(corpus, "train.outer={kind: diloco, workers: 4}")), objective)
    assert isinstance(update, Apart)
    update.workers.weights[2][0].fill_(float("nan"))
    read = update.gradients(0, 0, 8)
    with pytest.raises(Diverged, match=r"worker 2: step 1: the weight .* is NaN"):
        update.apply(0, read)


# ------------------------------------------------------------ several processes


def alone_or_two(folder: Path, processes: int, words: list[str], steps: int = 11) -> Path:
    folder.mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command += [apart_alone.__file__, str(folder), str(steps), *words]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=LIMIT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_are_one_and_say_what_the_formula_says(tmp_path: Path, corpus: Path, kind: str) -> None:
    words = small.words(corpus, "model.layers=2", "optimizer=adamw", f"train.outer={KINDS[kind]}")
    two = alone_or_two(tmp_path / "two", 2, words)
    experiment = resolve(words)
    update = exactly(experiment)
    go(update, 11)
    torch.testing.assert_close(load_file(two / "weights.safetensors"), weights(update), **TIGHT)
    # Of float64, two workers in each process, which adds up what they give before it says it.
    given = json.loads((two / "given.json").read_text())
    outer, count = experiment.train.outer, sum(p.numel() for _, p in update.named)
    assert outer is not None
    if kind == "noloco":
        crossing = sum(pairs(4, step)[worker] > 1 for step in (5, 10) for worker in (0, 1))
        assert given == {"isend": crossing * 2 * outer.sent(count)}
    elif kind == "streaming":  # fragment 1 after 4, fragment 0 after 8 updates, and no more before the end
        assert given == {"all_reduce": 2 * outer.sent(count)}
    else:
        assert given == {
            "all_reduce": 2 * 2 * outer.sent(count) * (32 / (getattr(outer, "bits", None) or 32))
        }


@pytest.mark.slow
def test_a_run_of_two_processes_goes_on_in_one_in_the_middle_of_a_round(tmp_path: Path, corpus: Path) -> None:
    more = [*RUN, "train.checkpoint_every=7", "train.keep=5", f"train.outer={KINDS['diloco']}"]
    done = small.torchrun(small.words(corpus, *more), tmp_path / "two")
    assert done.returncode == 0, done.stderr
    small.run(corpus, tmp_path / "one", *more)
    small.close(small.losses(tmp_path / "two"), small.losses(tmp_path / "one"))
    (tmp_path / "two" / "summary.json").unlink()
    shutil.rmtree(store.step_folder(tmp_path / "two", 12))
    told = small.Told()
    small.run(corpus, tmp_path / "two", *more, told=told)
    assert "resuming after step 7" in told.messages
    (here, state), (there, its_state) = small.left(tmp_path / "two"), small.left(tmp_path / "one")
    assert here.keys() == there.keys() and state["outer"] == its_state["outer"]
    for name, tensor in here.items():
        torch.testing.assert_close(tensor, there[name], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_workers_that_cannot_be_shared_are_refused_once(tmp_path: Path, corpus: Path) -> None:
    words = small.words(corpus, *RUN, "train.outer={kind: diloco, workers: 1}")
    done = small.torchrun(words, tmp_path / "two")
    said = "train.outer.workers = 1 cannot be shared among 2 processes"
    assert done.returncode == 1 and done.stderr.count(said) == 1, done.stderr


def test_bytes_a_token_are_those_of_the_formula(tmp_path: Path, corpus: Path) -> None:
    summary = small.run(corpus, tmp_path / "run", *RUN, "train.outer={kind: diloco, workers: 2, every: 4}")
    assert summary["sent"] == {
        "workers": 2,
        "bytes_per_unit": 4 * summary["parameters"] / (4 * 8 * 16),
        "data_parallel": 4 * summary["parameters"] / (8 * 16),
    }
    assert small.run(corpus, tmp_path / "alone", *RUN)["sent"] is None


def test_bits_can_be_a_word_of_a_command() -> None:
    outer = resolve(["tiny", "train.outer=diloco", "train.outer.bits=2"]).train.outer
    assert outer == spec.DiLoCo(bits=2)
    assert resolve(["tiny", "train.outer={kind: diloco, bits: 2}", "train.outer.bits=none"]).train.outer == (
        spec.DiLoCo()
    )


@pytest.mark.parametrize(
    ("more", "bits", "table"),
    [("bits: 4", 4, 1), ("bits: 2, levels: linear", 2, 2), ("bits: 2, levels: statistical", 2, 4)],
)
def test_bytes_of_few_bits_have_tables_of_levels(more: str, bits: int, table: int) -> None:
    """A float32 for each number of the table of a tensor."""
    train = resolve(["tiny", f"train.outer={{kind: diloco, workers: 2, every: 5, {more}}}"]).train
    found = communication.sent(train, [300, 17], 16)
    assert found is not None
    assert found["bytes_per_unit"] == (317 * bits / 8 + 2 * 4 * table) / (5 * train.batch * 16)


# ------------------------------------------------------------ what does not go together


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["train.parallel=fsdp"],
            "parallel = fsdp does not go with train.outer.kind = diloco: each worker holds",
        ),
        (["train.precision=float16"], "precision = float16 does not go with train.outer.kind = diloco"),
        (["train.weights=bfloat16"], "weights = bfloat16 does not go with train.outer.kind = diloco"),
        (
            ["train.average=ema"],
            "average = ema does not go with train.outer.kind = diloco: the global weights are",
        ),
        (["train.noise_every=1", "train.microbatch=2"], "noise_every = 1 does not go with train.outer"),
        (["train.mesh.tensor=2"], "does not go with train.outer.kind = diloco: each worker holds its whole"),
        (["train.quantize={format: int4}"], "train.quantize.format = int4-narrow does not go with"),
        (["+masked-lm", "model.norm=batch"], "model.norm.kind = batch has running averages"),
        (["train.skip=loss"], "skip = loss does not go with train.outer.kind = diloco"),
        (["train.batch=6"], "batch = 6 cannot be shared among train.outer.workers = 4"),
        (["train.microbatch=4"], "microbatch = 4 does not divide the 2 sequences of a worker"),
        (["optimizer=schedule-free"], "optimizer.kind = schedule-free averages weights itself"),
        (["train.outer.fragments=2"], "train.outer.fragments = 2 are of whole layers, and the network has 1"),
        (
            ["train.outer.every=1", "train.outer.fragments=2"],
            "fragments = 2 cannot take turns in train.outer.every = 1",
        ),
        (["train.outer.delay=30"], "delay = 30: a fragment must arrive before the next one is sent"),
        (["train.outer={kind: noloco, workers: 1}"], "workers = 1 cannot be paired"),
        (["train.outer.bits=3"], "is not 2, 4, 8 or none"),
        (["train.outer.feedback=0.9"], "feedback = 0.9 is of differences in few bits, and bits is none"),
        (["train.outer.levels=linear"], "levels = linear is of differences in few bits, and bits is none"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_does_not_go_together_is_refused(corpus: Path, words: list[str], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        resolve(small.words(corpus, "train.outer=diloco", *words))
    assert said in str(caught.value)


def test_no_population_of_them(corpus: Path) -> None:
    one = resolve(small.words(corpus, "train.outer=diloco", "train.steps=2", "train.seconds=none"))
    assert "train.outer.kind = diloco has several networks in one run" in str(refusal([one, one.seeded(1)]))


def test_what_only_a_run_knows_is_refused(tmp_path: Path, corpus: Path) -> None:
    outer = "train.outer={kind: diloco, workers: 2}"
    more = ["model.bottleneck={kind: vq, size: 4, codes: 8}"]
    with pytest.raises(RunError, match=r"the network also learns .*, which is none"):
        small.run(corpus, tmp_path / "vq", *RUN, *more, outer)
    more = ["optimizer=tiger", "train.clip=0", "train.microbatch=2"]
    with pytest.raises(RunError, match=r"needs the gradients of each worker, and Tiger .* set train\.clip"):
        small.run(corpus, tmp_path / "tiger", *RUN, *more, outer)
