"""What ``danlu doctor`` says of a machine."""

from __future__ import annotations

from importlib import metadata

import pytest
import torch

from danlu.files import system
from danlu.lab import doctor
from danlu.spec import Experiment, book, resolve
from danlu.train import compiling
from danlu.train.costs import costs
from danlu.train.errors import RunError


def test_seconds_are_flops_over_the_speed_that_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """FLOPs: 3 × forward a token, for as many tokens as the run reads."""
    nano = resolve(["nano", "train.steps=10", "train.batch=4"])
    found = doctor._estimate(nano, 1e9)
    flops = 10 * 4 * nano.data.size * costs(nano)["flops"]["training"]
    assert found == {"flops": flops, "seconds": flops / (1e9 * compiling.EAGER), "why": None}


def test_a_bound_in_seconds_is_the_time() -> None:
    assert doctor._estimate(resolve(["tiny", "train.seconds=50"]), 1e9)["seconds"] == 50


def test_what_cannot_be_had_here_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(experiment: Experiment) -> None:
        raise RunError("digits needs the package scikit-learn")

    monkeypatch.setattr(doctor, "costs", missing)
    found = doctor._estimate(resolve(["nano"]), 1e9)
    assert found == {"flops": None, "seconds": None, "why": "digits needs the package scikit-learn"}


def test_all_recipes_of_danlus_own_are_counted_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Experiment] = []
    monkeypatch.setattr(doctor, "_estimate", lambda experiment, speed: asked.append(experiment) or {})
    said: list[str] = []
    found = doctor.examine(said.append)
    own = [entry for entry in book.entries() if entry.published.year is None]
    assert asked == [entry.experiment for entry in own] and len(said) == len(own) + 1
    assert [one["name"] for one in found["recipes"]] == [entry.name for entry in own]
    assert found["versions"]["torch"] == torch.__version__ and found["flops_per_second"] > 0


def test_extras_name_what_they_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    required = ["torch<2.14", "numpy<3; extra == 'one'", "no-such.package>=1; extra == 'two'",
                "danlu[bpe]; extra == 'test'", 'scipy; extra == "two"']  # fmt: skip
    monkeypatch.setattr(metadata, "requires", lambda name: required)
    expected = [{"name": "one", "missing": []}, {"name": "two", "missing": ["no-such.package"]}]
    assert doctor.extras() == expected


@pytest.mark.parametrize(("platform", "word"), [("WINDOWS", "WSL"), ("MAC", "CPU"), (None, None)])
def test_what_a_system_cannot_do_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, platform: str | None, word: str | None
) -> None:
    for name in ("WINDOWS", "MAC"):
        monkeypatch.setattr(system, name, name == platform)
    said = doctor.unsupported()
    assert said is None if word is None else said is not None and word in said and "\n" not in said
