"""Runs that average their weights, and runs whose weights are bfloat16: what is evaluated, kept, resumed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from danlu.data import prepare
from danlu.objectives import build
from danlu.spec import SpecError, catalog, resolve
from danlu.train import checkpoint
from danlu.train.averages import WeightsAverage, evaluate_averages
from danlu.train.costs import costs
from danlu.train.errors import RunError
from danlu.train.evaluate import evaluate
from danlu.train.load import generate_text, load_run
from danlu.train.parallel import ALONE
from tests.train import small
from tests.train.test_parallel import RUN as OF_TWO
from tests.train.test_parallel import agree, torchrun

RUN = [
    "train.steps=8", "train.evaluate_every=2", "train.checkpoint_every=2", "train.keep=9",
    "train.log_every=2", "train.evaluate_tokens=400", "model.dropout=0.1",
]  # fmt: skip
EMA = "train.average={kind: ema, decay: 0.6}"
SWA_ALL = "train.average={kind: swa, start: 0, every: 2}"

CPU = ["train.device=cpu", "train.precision=bfloat16"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return small.corpus(tmp_path)


def score(path: Path, step: int, averaged: bool) -> float:
    """Bits per byte, computed anew from the checkpoint."""
    run = load_run(path, step, averaged=averaged)
    objective = build(run.experiment.objective, prepare(run.experiment.data))
    return evaluate(run.model, objective, objective.held_out(400), ALONE, rows=2)["bits_per_byte"]


def forget(run: Path, *steps: int) -> None:
    """As if the process had been killed before it saved these steps."""
    (run / "summary.json").unlink()
    for step in steps:
        shutil.rmtree(run / "checkpoints" / f"step-{step}")


@pytest.mark.parametrize(
    "more",
    [
        [EMA], [SWA_ALL], ["train.average={kind: swa, start: 0.6, every: 1}"],
        ["train.weights=bfloat16"], ["train.weights=bfloat16-stochastic", EMA],
        ["train.weights=bfloat16-stochastic", "train.precision=bfloat16", "train.microbatch=4"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_resumed_bit_for_bit(tmp_path: Path, corpus: Path, more: list[str]) -> None:
    small.run(corpus, tmp_path / "whole", *RUN, *more)
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    forget(tmp_path / "resumed", 6, 8)
    small.run(corpus, tmp_path / "resumed", *RUN, *more)
    small.assert_same(tmp_path / "whole", tmp_path / "resumed")


def test_weights_and_average_are_evaluated_and_the_average_decides(tmp_path: Path, corpus: Path) -> None:
    summary = small.run(corpus, tmp_path / "run", *RUN, EMA)
    rows = [row for row in small.rows(tmp_path / "run") if "bits_per_byte" in row]
    assert [row["step"] for row in rows] == [2, 4, 6, 8]
    for row in rows:
        for name, averaged in (("bits_per_byte", False), ("bits_per_byte_average", True)):
            assert row[name] == pytest.approx(score(tmp_path / "run", row["step"], averaged), rel=1e-6)
        assert row["bits_per_byte"] != row["bits_per_byte_average"]
    best = min(rows, key=lambda row: row["bits_per_byte_average"])
    assert summary["best"] == {"step": best["step"], "value": best["bits_per_byte_average"]}
    assert summary["metric"]["value"] == rows[-1]["bits_per_byte_average"]


def test_an_average_changes_nothing_else(tmp_path: Path, corpus: Path) -> None:
    small.run(corpus, tmp_path / "plain", *RUN)
    small.run(corpus, tmp_path / "averaged", *RUN, EMA)
    (plain, _), (averaged, _) = small.left(tmp_path / "plain"), small.left(tmp_path / "averaged")
    kept = {name: t for name, t in averaged.items() if not name.startswith("average/")}
    assert plain.keys() == kept.keys() < averaged.keys()
    assert all(torch.equal(t, kept[name]) for name, t in plain.items())


def test_what_is_kept_is_the_mean_of_checkpoints(tmp_path: Path, corpus: Path) -> None:
    """Every second update from the first: 1, 3, 5, 7; tied weights too."""
    run = tmp_path / "run"
    small.run(corpus, run, *RUN, SWA_ALL, "train.checkpoint_every=1")
    taken = [load_run(run, step, averaged=False).model.state_dict() for step in (1, 3, 5, 7)]
    found = load_run(run, 8).model.state_dict()
    assert found.keys() == taken[0].keys()
    for name, tensor in found.items():
        mean = torch.stack([each[name].double() for each in taken]).mean(0)
        torch.testing.assert_close(tensor.double(), mean, rtol=1e-6, atol=1e-7)
    held = checkpoint.load(run, 8, only={"average"})[0]["average"]
    count = sum(p.numel() for p in load_run(run).model.parameters())
    assert sum(t.nbytes for t in held.values()) == 4 * count


def test_before_an_average_begins_there_is_none(tmp_path: Path, corpus: Path) -> None:
    run = tmp_path / "run"
    small.run(corpus, run, *RUN, "train.average={kind: swa, start: 0.5, every: 1}")
    rows = [row for row in small.rows(run) if "bits_per_byte" in row]
    assert ["bits_per_byte_average" in row for row in rows] == [False, False, True, True]
    one, other = (load_run(run, 4, averaged=on).model.state_dict() for on in (True, False))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert len(generate_text(load_run(run), "the ", count=5))


def test_running_averages_of_activations_are_those_of_the_weights(tmp_path: Path, corpus: Path) -> None:
    run = tmp_path / "run"
    small.run(corpus, run, *RUN, EMA, "+masked-lm", "model.norm=batch")
    one, other = (dict(load_run(run, 8, averaged=on).model.named_buffers()) for on in (True, False))
    assert any(name.endswith("running_mean") or "mean" in name for name in one)
    assert all(torch.equal(buffer, other[name]) for name, buffer in one.items())


def test_averages_of_weights_and_of_outputs(tmp_path: Path, corpus: Path) -> None:
    run = tmp_path / "run"
    small.run(corpus, run, *RUN, "train.average={kind: swa, start: 0, every: 1}", "train.checkpoint_every=1")
    found = evaluate_averages(run)
    assert found["steps"] == list(range(1, 9))
    rows = {row["step"]: row for row in small.rows(run) if "bits_per_byte" in row}
    for step, value in zip(found["steps"], found["each"], strict=True):
        assert step not in rows or value == pytest.approx(rows[step]["bits_per_byte"], rel=1e-6)
    assert found["weights"] == pytest.approx(rows[8]["bits_per_byte_average"], rel=1e-5)
    # −log is convex, and a geometric mean adds up to at most 1 before it is normalised
    assert max(found["probabilities"], found["logits"]) <= sum(found["each"]) / 8 + 1e-9
    one = evaluate_averages(run, last=1)
    assert one["steps"] == [8]
    for name in ("weights", "probabilities", "logits"):
        assert one[name] == pytest.approx(one["each"][0], rel=1e-6)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="no checkpoint to average"):
        evaluate_averages(tmp_path / "empty")


def test_an_evaluation_that_is_cut_off_leaves_the_weights(tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 3)
    average = WeightsAverage(resolve(["tiny", EMA]).train.average, model, list(model.named_parameters()))
    average.update(0.0)
    with torch.no_grad():
        model.weight.add_(1)
    before, calls = model.weight.detach().clone(), 0

    def stops() -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls == 2:
            assert not torch.equal(model.weight, before)
            raise KeyboardInterrupt
        return {"bits_per_byte": 1.0}

    with pytest.raises(KeyboardInterrupt):
        average.scores(stops, "bits_per_byte")
    assert torch.equal(model.weight, before) and average.seen == 1


# ---------------------------------------------------------------- bfloat16 weights


@pytest.mark.parametrize("weights", ["bfloat16", "bfloat16-stochastic"])
def test_two_bytes_a_weight_and_what_was_lost(tmp_path: Path, corpus: Path, weights: str) -> None:
    run = tmp_path / "run"
    small.run(corpus, run, *RUN, f"train.weights={weights}", "optimizer=adamw")
    tensors, _ = small.left(run)
    of_model = {t.dtype for name, t in tensors.items() if name.startswith("model/")}
    of_rule = {t.dtype for name, t in tensors.items() if name.startswith("optimizer/")}
    assert of_model == {torch.bfloat16} and torch.bfloat16 not in of_rule
    logged = [row for row in small.rows(run) if "loss" in row]
    assert [row["step"] for row in logged] == [1, 2, 4, 6, 8]
    assert all(0 < row["lost_updates"] < 1 for row in logged)
    by_part = logged[-1]["lost_by_part"]
    assert set(by_part) == {"embedding", "blocks.0.mixer", "blocks.0.feed_forward", "readout"}
    assert min(by_part.values()) <= logged[-1]["lost_updates"] <= max(by_part.values())
    assert logged[-1]["loss"] < logged[0]["loss"]
    assert {p.dtype for p in load_run(run).model.parameters()} == {torch.float32}  # of the same values


def test_costs_know_the_type_of_the_weights() -> None:
    one, half = (costs(resolve(["tiny", f"train.weights={w}", *CPU])) for w in ("float32", "bfloat16"))
    for part in ("weights", "gradients"):
        assert one["memory"][part] == 2 * half["memory"][part] == 4 * one["parameters"]["total"]
    assert one["memory"]["copies"] > 0 == half["memory"]["copies"]  # in bfloat16 they are used as they are


def test_float32_weights_lose_nothing_and_say_nothing(tmp_path: Path, corpus: Path) -> None:
    small.run(corpus, tmp_path / "run", *RUN)
    assert not any("lost_updates" in row for row in small.rows(tmp_path / "run"))


IDEAS = [i.name for i in catalog.ideas() if i.family in ("averages", "precision") and not i.on]


@pytest.mark.parametrize("name", IDEAS)
def test_ideas(name: str) -> None:
    plain, changed = resolve(["tiny"]), resolve(["tiny", f"+{name}"])
    assert changed.train != plain.train


def test_two_averages_are_refused() -> None:
    with pytest.raises(
        SpecError, match=r"schedule-free averages the weights itself; set train.average = none"
    ):
        resolve(["tiny", "optimizer=schedule-free", "+ema"])


def test_schedule_free_is_evaluated_and_saved_at_its_average(tmp_path: Path, corpus: Path) -> None:
    """And goes on from where its gradients are taken, bit for bit, with bfloat16 weights as well."""
    for more in ([], ["train.weights=bfloat16-stochastic"]):
        base = [*RUN, *more, "optimizer=schedule-free"]
        whole = tmp_path / "-".join(["whole", *more])
        small.run(corpus, whole, *base)
        row = next(row for row in small.rows(whole) if row["step"] == 6 and "bits_per_byte" in row)
        assert row["bits_per_byte"] == pytest.approx(score(whole, 6, False), rel=1e-6)
        resumed = tmp_path / "-".join(["resumed", *more])
        shutil.copytree(whole, resumed)
        forget(resumed, 6, 8)
        small.run(corpus, resumed, *base)
        small.assert_same(whole, resumed)


# ---------------------------------------------------------------- several processes


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
@pytest.mark.parametrize("more", [[EMA], ["optimizer=schedule-free"]], ids=" ".join)
def test_two_processes_average_as_one(tmp_path: Path, corpus: Path, kind: str, more: list[str]) -> None:
    more = [*more, f"train.parallel={kind}", "model.layers=2"]
    done = torchrun(tmp_path / "two", corpus, *more)
    assert done.returncode == 0, done.stderr
    small.run(corpus, tmp_path / "one", *OF_TWO, *more)
    agree(tmp_path / "two", tmp_path / "one")
    name = "bits_per_byte_average"
    here, there = ([row[name] for row in small.rows(tmp_path / run) if name in row] for run in ("two", "one"))
    assert here == pytest.approx(there, rel=1e-5) and len(here) == 2 * (EMA in more)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_resume_bit_for_bit(tmp_path: Path, corpus: Path, kind: str) -> None:
    more = [
        f"train.parallel={kind}",
        "train.weights=bfloat16-stochastic",
        EMA,
        "model.layers=2",
        "optimizer=muon",
    ]
    assert torchrun(tmp_path / "whole", corpus, *more).returncode == 0
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    forget(tmp_path / "resumed", 6)
    done = torchrun(tmp_path / "resumed", corpus, *more)
    assert done.returncode == 0 and "resuming after step 3" in done.stderr, done.stderr
    small.assert_same(tmp_path / "whole", tmp_path / "resumed")
    lost = [row["lost_updates"] for row in small.rows(tmp_path / "whole") if "loss" in row]
    assert all(0 < share < 1 for share in lost)
