"""Every idea, and every pair of ideas of different families: three updates lower the loss, or a sentence says
why the two don't go together."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import torch

from danlu import objectives, optim, spec
from danlu.models import build
from danlu.nn import after_update
from danlu.objectives import training_keys
from danlu.spec import catalog
from danlu.train.assemble import outlined

# On text; a teacher is a run that is there.
IDEAS = [idea for idea in catalog.ideas() if not idea.on and idea.name != "distil"]
PAIRS = [(a.name, b.name) for a, b in itertools.combinations(IDEAS, 2) if a.family != b.family]
SMALL = ["model.width=32"]
TEXT = np.frombuffer((__doc__ + catalog.__doc__ * 4).encode()[: 2 * 129], np.uint8).astype(np.int64)


def learns(experiment: spec.Experiment) -> None:
    """Three updates on one batch: every loss is finite, and the last is below the first."""
    torch.manual_seed(0)
    context = experiment.text.context
    objective = objectives.build(experiment.objective, outlined(experiment))
    model = build(experiment.model, *objective.inputs)
    rows = TEXT.reshape(2, 129)[:, : context + 1]
    arrays = objective.make(rows[:, :-1], rows[:, 1:], training_keys(0, 0, 0, 2))
    example = {name: torch.from_numpy(np.ascontiguousarray(part)) for name, part in arrays.items()}
    optimizers = optim.build(experiment.optimizer, model, updates=300)

    def loss() -> float:
        with torch.no_grad():
            return float(objective.loss(model, example).total)

    before = loss()
    for _ in range(3):
        nats, penalty = objective.loss(model, example)
        assert torch.isfinite(nats)
        (nats if penalty is None else nats + penalty).div(2 * objective.count).backward()
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * 0.3
            optimizer.step()
        after_update(model)
        model.zero_grad()
    assert loss() < before


def base(*names: str) -> list[str]:
    """What the ideas are laid on: an encoder for the norms that would show a decoder the future."""
    return ["tiny", *SMALL, *(["+masked-lm"] if {"batch-norm", "instance-norm"} & set(names) else [])]


@pytest.mark.parametrize("name", [idea.name for idea in IDEAS])
def test_every_idea_learns(name):
    try:
        experiment = spec.resolve([*base(name), f"+{name}"])
    except spec.SpecError as error:  # what tiny has already
        assert "changes nothing" in str(error)
        return
    learns(experiment)


def together(a: str, b: str) -> None:
    try:
        experiment = spec.resolve([*base(a, b), f"+{a}", f"+{b}"])
    except spec.SpecError as error:
        for sentence in str(error).splitlines():
            assert len(sentence) > 40 and sentence == " ".join(sentence.split())
            named = (f"+{a}", f"+{b}", f"idea {a}:", f"idea {b}:", " = ")
            assert any(word in sentence for word in named)  # what clashes
        return
    learns(experiment)


@pytest.mark.parametrize(("a", "b"), random.Random(0).sample(PAIRS, 50))
def test_fifty_pairs(a, b):
    together(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("first", [idea.name for idea in IDEAS])
def test_every_pair(first):
    """All pairs, by the first of the two; each failure is told, not the first alone."""
    failed = []
    for a, b in PAIRS:
        if a == first:
            try:
                together(a, b)
            except Exception as error:  # collected: a pair must not hide the others
                failed.append(f"+{a} +{b}: {type(error).__name__}: {error}")
    assert not failed, "\n".join(failed)
