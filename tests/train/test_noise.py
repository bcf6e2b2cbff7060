"""The noise of gradients, measured while a run trains (``train.noise_every``)."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from danlu import data, spec
from danlu.curvature import flatten, noise_from_norms
from danlu.lab import measures
from danlu.lab.errors import LabError
from danlu.objectives import Draw
from danlu.train import metrics
from danlu.train.assemble import assemble, objective_of
from danlu.train.callbacks import Noise
from danlu.train.errors import RunError
from danlu.train.parallel import ALONE, Processes
from danlu.train.update import Update
from tests.train import small

RUN = ["train.steps=4", "train.log_every=1", "train.evaluate_tokens=64", "train.microbatch=2"]
EVERY = "train.noise_every=2"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return small.corpus(tmp_path)


def noise(folder: Path) -> dict[int, dict[str, float]]:
    rows = metrics.read(folder / "metrics.jsonl")
    return {row["step"]: row["noise"] for row in rows if "noise" in row}


def test_a_run_that_is_measured_is_the_run_that_is_not(tmp_path: Path, corpus: Path) -> None:
    more = ["model.dropout=0.2", "+z-loss"]
    small.run(corpus, tmp_path / "plain", *RUN, *more)
    small.run(corpus, tmp_path / "seen", *RUN, *more, EVERY)
    assert list(noise(tmp_path / "seen")) == [2, 4] and noise(tmp_path / "plain") == {}
    kept = [row for row in small.rows(tmp_path / "seen") if "noise" not in row]
    assert kept == small.rows(tmp_path / "plain")
    assert all(map(torch.equal, *(list(small.left(tmp_path / f)[0].values()) for f in ("plain", "seen"))))


def test_what_is_measured_is_what_it_says(tmp_path: Path, corpus: Path) -> None:
    """At the first update, from gradients that are taken anew: of the mean loss over the first two examples,
    and over all eight."""
    words = small.words(corpus, *RUN, "train.steps=1", "train.noise_every=1")
    experiment = spec.resolve(words)
    small.go(experiment, tmp_path / "run")
    objective = objective_of(experiment, data.prepare(experiment.data))
    made = assemble(experiment, objective)
    update = Update(made)

    def square(stop: int) -> float:
        loss = objective.loss(made.model, update.example(Draw(experiment.train.seed, 0, 0, 0, stop)))
        mean = loss.minimised / (stop * objective.count)
        return float(flatten(torch.autograd.grad(mean, [p for _, p in made.named])).square().sum())

    wanted = noise_from_norms(square(2), 2, square(8), 8)
    (found,) = noise(tmp_path / "run").values()
    assert found["squared"] == pytest.approx(wanted.squared, rel=1e-3)
    assert found["trace"] == pytest.approx(wanted.trace, rel=1e-3)


@pytest.mark.slow
def test_two_processes_measure_each_ones_first_pass(tmp_path: Path, corpus: Path) -> None:
    words = small.words(corpus, *RUN, "train.noise_every=1")
    done = small.torchrun(words, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    small.run(corpus, tmp_path / "one", *RUN, "train.noise_every=1")
    two, one = noise(tmp_path / "two"), noise(tmp_path / "one")
    assert list(two) == list(one) == [1, 2, 3, 4]
    # The batch is the same, and of four first examples two are the same.
    for step in one:
        for values in (one[step], two[step]):
            assert values["squared"] + values["trace"] / 8 > 0
        wholes = [v["squared"] + v["trace"] / 8 for v in (one[step], two[step])]
        assert wholes[0] == pytest.approx(wholes[1], rel=1e-3)
        assert one[step]["trace"] != two[step]["trace"]


def test_the_measure(tmp_path: Path, corpus: Path) -> None:
    small.run(corpus, tmp_path / "run", *RUN, EVERY)
    last = noise(tmp_path / "run")[4]
    found = measures.of_run(tmp_path / "run", ["noise-scale"])["noise-scale"]
    assert found == pytest.approx(last["trace"] / last["squared"]) or math.isinf(found)
    small.run(corpus, tmp_path / "plain", *RUN)
    with pytest.raises(LabError, match=r"add train\.noise_every=1, and a train\.microbatch"):
        measures.of_run(tmp_path / "plain", ["noise-scale"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train.microbatch=none"], "set microbatch to a part of train.batch = 8"),
        (["train.microbatch=8"], "set microbatch to a part of train.batch = 8"),
        (["train.parallel=fsdp"], "needs all of a microbatch's gradient"),
    ],
)
def test_what_cannot_be_measured(corpus: Path, words: list[str], said: str) -> None:
    with pytest.raises(spec.SpecError, match=said):
        spec.resolve(small.words(corpus, *RUN, EVERY, *words))


def test_a_process_with_one_pass_has_nothing_to_compare(corpus: Path) -> None:
    """Of a batch of 4 for two processes, 2 fall to each."""
    experiment = spec.resolve(small.words(corpus, *RUN, EVERY, "train.batch=4"))
    objective = objective_of(experiment, data.prepare(experiment.data))
    update = Update(assemble(experiment, objective, "float32"))
    group = Processes(0, 2, ALONE.device)
    object.__setattr__(update.made, "group", group)
    run: Any = SimpleNamespace(experiment=experiment, update=update, group=group)
    with pytest.raises(RunError, match=r"train\.microbatch = 2 is all that falls to one of 2 processes"):
        Noise(run)


def test_tigers_momentum_leaves_no_gradient(tmp_path: Path, corpus: Path) -> None:
    with pytest.raises(RunError, match=r"Tiger accumulates it in its momentum; leave "):
        small.run(corpus, tmp_path / "run", *RUN, EVERY, "optimizer=tiger", "train.clip=0")
