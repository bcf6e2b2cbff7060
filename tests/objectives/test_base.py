"""What holds for every objective: constant counts, examples that no division changes, the loss."""

from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu import spec
from danlu.objectives import IGNORED, held_out_keys, language, training_keys
from danlu.objectives.base import beside
from tests.objectives.fakes import BYTES, Table, example, objective, tensors, text

SPECS = [spec.Causal(), spec.Prefix(length=5), spec.Masked(), spec.Spans()]
each = pytest.mark.parametrize("described", SPECS, ids=lambda s: s.kind)


@each
def test_fields_are_keyword_arguments(described: spec.Objective) -> None:
    """Of the same names and defaults, so that the specification and the class cannot drift apart."""
    arguments = inspect.signature(type(objective(described, 32))).parameters.values()
    found = {p.name: p.default for p in arguments if p.kind is inspect.Parameter.KEYWORD_ONLY}
    fields = {name: field.default for name, field in type(described).model_fields.items()}
    assert found == {name: default for name, default in fields.items() if name != "kind"}


@each
@settings(max_examples=30, deadline=None)
@given(st.integers(6, 200), st.integers(0, 2**64))
def test_every_row_has_the_same_counts_and_lengths(
    described: spec.Objective, context: int, seed: int
) -> None:
    of = objective(described, context)
    made = example(of, 3, seed % 2**32)
    assert ((made["targets"] != IGNORED).sum(axis=1) == of.count).all()
    shapes = [made[name].shape for name in ("tokens", "encoder_tokens") if name in made]
    assert shapes == [(3, length) for length in of.lengths]
    assert made["targets"].shape == made["tokens"].shape
    assert all(part.dtype == np.int64 for part in made.values())
    assert max(part.max() for part in made.values()) < of.vocabulary == BYTES.vocabulary + of.extra_ids
    assert of.token_bytes.shape == (of.vocabulary,) and of.token_bytes.dtype == np.int32


@each
def test_a_row_is_a_function_of_seed_step_and_row(described: spec.Objective) -> None:
    of = objective(described, 40)
    inputs, targets = text(6, 40)
    whole = of.make(inputs, targets, training_keys(3, 7, 0, 6))
    for size in (1, 2, 3):  # of a pass, in any process
        for start in range(0, 6, size):
            rows = slice(start, start + size)
            part = of.make(inputs[rows], targets[rows], training_keys(3, 7, start, start + size))
            assert part.keys() == whole.keys()
            assert all(np.array_equal(part[name], whole[name][rows]) for name in whole)


@pytest.mark.parametrize("described", SPECS[2:], ids=lambda s: s.kind)
def test_another_seed_step_or_row_is_corrupted_otherwise(described: spec.Objective) -> None:
    of = objective(described, 40)
    inputs, targets = (np.repeat(part, 3, axis=0) for part in text(1, 40))
    keys = [
        *training_keys(0, 0, 0, 3), *training_keys(1, 0, 0, 3), *training_keys(0, 1, 0, 3),
        *training_keys(-1, 0, 0, 3), *held_out_keys(range(3)),
    ]  # fmt: skip
    made = [of.make(inputs[:1], targets[:1], [key])["targets"].tobytes() for key in keys]
    assert len(set(made)) == len(keys)
    again = [of.make(inputs[:1], targets[:1], [key])["targets"].tobytes() for key in keys]
    assert made == again


@each
def test_the_text_given_is_left_as_it_is(described: spec.Objective) -> None:
    inputs, targets = text(2, 40)
    mask = np.ones((2, 40), bool)
    before = inputs.copy(), targets.copy()
    objective(described, 40).make(inputs, targets, training_keys(0, 0, 0, 2), mask)
    assert np.array_equal(inputs, before[0]) and np.array_equal(targets, before[1])


@each
def test_documents_are_those_of_the_text(described: spec.Objective) -> None:
    """Numbered before anything is masked; with ``join`` the model is not told of them."""
    inputs, targets = text(2, 40)
    inputs[:, 17] = BYTES.separator
    keys = training_keys(0, 0, 0, 2)
    assert "documents" not in objective(described, 40).make(inputs, targets, keys)
    if described.kind != "spans":
        made = objective(described, 40, documents="separate").make(inputs, targets, keys)
        assert np.array_equal(made["documents"], np.repeat([[0] * 17 + [1] * 23], 2, axis=0))


@each
@pytest.mark.parametrize("z_loss", [0.0, 0.1])
def test_the_loss_is_that_of_the_predicted_tokens(described: spec.Objective, z_loss: float) -> None:
    of = objective(described.model_copy(update={"z_loss": z_loss}), 24)
    made = tensors(example(of, 2))
    model = Table(*made["tokens"].shape, of.vocabulary)
    nats, penalty = of.loss(model, made)
    counted = made["targets"] != IGNORED
    logits, wanted = model.logits[counted], made["targets"][counted]
    torch.testing.assert_close(nats, F.cross_entropy(logits, wanted, reduction="sum"))
    if z_loss:
        torch.testing.assert_close(penalty, 0.1 * logits.logsumexp(-1).square().sum())
        (gradient,) = torch.autograd.grad(penalty, model.logits, retain_graph=True)
        expected = 0.2 * logits.logsumexp(-1, keepdim=True) * logits.softmax(-1)
        torch.testing.assert_close(gradient[counted], expected)
        assert (gradient[~counted] == 0).all()
    else:
        assert penalty is None
    assert of.loss(model.eval(), made) == (nats, None)
    given = {name for name in model.came if name not in ("tokens", "encoder_tokens")}
    assert given == set(of.scope) and model.came["tokens"] is made["tokens"]


def test_what_modules_add_counts_for_every_predicted_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mean per token, so that passes of different sizes add up to the mean over all of them."""
    monkeypatch.setattr(language, "auxiliary", lambda model: torch.tensor(0.5))
    of = objective(spec.Prefix(length=5, z_loss=0.1), 24)
    made = tensors(example(of, 3))
    model = Table(3, 24, of.vocabulary)
    _, penalty = of.loss(model, made)
    counted = model.logits[made["targets"] != IGNORED]
    torch.testing.assert_close(penalty, 0.1 * counted.logsumexp(-1).square().sum() + 0.5 * 3 * 20)
    assert of.loss(model.eval(), made).penalty is None


@each
def test_bytes_are_those_of_the_text_that_is_predicted(described: spec.Objective) -> None:
    of = objective(described, 40)
    made = tensors(example(of, 3))
    targets, model = made["targets"], Table(3, made["targets"].shape[1], of.vocabulary).eval()
    sums = of.score(model, made)
    assert int(sums["bytes"]) == int(((targets != IGNORED) & (targets < 256)).sum())
    assert int(sums["tokens"]) == 3 * of.count
    assert (of.token_bytes[BYTES.vocabulary :] == 0).all()
    none = of.score(model, {**made, "targets": torch.full_like(targets, IGNORED)})
    assert all(float(value) == 0 for value in none.values())


@pytest.mark.parametrize(
    ("described", "least"),
    [(spec.Causal(), 1), (spec.Prefix(length=5), 5), (spec.Masked(), 10), (spec.Spans(), 10)],
    ids=lambda part: getattr(part, "kind", ""),
)
def test_windows_with_too_little_text_are_left_out(described: spec.Objective, least: int) -> None:
    of = objective(described, 10)
    for length in range(11):
        assert of.takes(np.arange(10) < length) == (length >= least)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_a_sample_is_made_from_goes_to_the_device_of_the_weights(device: str) -> None:
    array = np.arange(3)
    there = beside(torch.nn.Linear(2, 2, device=device), array)
    assert there.device.type == device and there.shape == (3,) and there.dtype == torch.int64
    assert torch.equal(beside(torch.nn.Module(), array), torch.arange(3))


def test_objectives_load_neither_the_compiler_nor_scipy() -> None:
    """They would add seconds to the start of every run."""
    program = "import sys, danlu.objectives; print({'torch._dynamo', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
