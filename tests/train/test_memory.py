"""What cannot fit into memory is refused before it is allocated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from danlu import data
from danlu.spec import resolve
from danlu.train import memory
from danlu.train.assemble import objective_of
from danlu.train.errors import RunError
from danlu.train.memory import OF_A_WEIGHT, available, check_memory
from tests.train import small

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.corpus(tmp_path_factory.mktemp("corpus"))


def check(corpus: Path, *words: str) -> None:
    experiment = resolve(small.words(corpus, "train.steps=1", *words))
    check_memory(experiment, objective_of(experiment, data.prepare(experiment.data)), CPU)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["model.width=1000000000000", "model.mixer.heads=1"],
            "64 bits can count; make it smaller",
        ),
        (["model.feed_forward.hidden=1000000000000"], "the network has .* parameters"),
        (["train.batch=1000000000000000"], r"train\.batch = 1000000000000000 takes more than"),
        (["train.batch=100000000000000"], r"train\.(micro)?batch = 100000000000000 takes more than"),
    ],
)
def test_what_nobody_has_the_memory_for(corpus: Path, words: list[str], said: str) -> None:
    with pytest.raises(RunError, match=said):
        check(corpus, *words)


def test_the_weights_are_counted(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound lies where the parameters with their gradients fill what is free, to the byte."""
    monkeypatch.setattr(memory, "SMALL", 0)
    experiment = resolve(small.words(corpus, "train.steps=1"))
    objective = objective_of(experiment, data.prepare(experiment.data))
    size = OF_A_WEIGHT * sum(p.numel() for p in memory.on_meta(experiment, objective).parameters())
    monkeypatch.setattr(memory, "available", lambda device: size)
    check(corpus)
    monkeypatch.setattr(memory, "available", lambda device: size - 1)
    with pytest.raises(RunError, match="the network has"):
        check(corpus)
    monkeypatch.setattr(memory, "available", lambda device: None)
    check(corpus)


def test_what_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = available(CPU)
    assert found is None or 10**6 < found < 10**15
    (tmp_path / "max").write_text("1000000\n")
    (tmp_path / "none").write_text("max\n")
    monkeypatch.setattr(
        memory, "CGROUPS", (str(tmp_path / "max"), str(tmp_path / "none"), str(tmp_path / "no"))
    )
    assert available(CPU) == 1_000_000
