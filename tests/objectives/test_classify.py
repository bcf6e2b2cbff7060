"""Classes of images: the loss is PyTorch's, metrics count each held-out image once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from danlu.data import prepare
from danlu.objectives import Classify, Draw, Objective, build, check_passes
from danlu.spec import Classify as Described
from danlu.spec import Digits
from danlu.train.evaluate import evaluate
from danlu.train.parallel import ALONE

pytest.importorskip("sklearn")


class Guess(torch.nn.Module):
    """Logits that are the sum of the pixels of each of ten rows of six."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :60].reshape(-1, 10, 6).sum(-1)


def made(smoothing: float = 0.0) -> Classify:
    found: Classify = build(Described(smoothing=smoothing), prepare(Digits()))
    return found


def tensors(example: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(part) for name, part in example.items()}


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_cross_entropy(smoothing: float) -> None:
    example = tensors(made().example(Draw(0, 0, 0, 0, 16)))
    example["images"].requires_grad_()
    model = Guess()
    logits, targets = model(example["images"]), example["targets"]
    expected = F.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
    losses = made(smoothing).loss(model, example)
    torch.testing.assert_close(losses.minimised, expected)
    torch.testing.assert_close(losses.total, F.cross_entropy(logits, targets, reduction="sum"))
    ours, its = (
        torch.autograd.grad(one, example["images"], retain_graph=True)[0]
        for one in (losses.minimised, expected)
    )
    assert torch.equal(ours, its)
    plain = F.cross_entropy(logits, targets, reduction="sum")
    torch.testing.assert_close(made(smoothing).loss(model.eval(), example).total, plain)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("rows", [7, 100, 1000])
def test_each_held_out_image_counts_once(rows: int, padded: bool) -> None:
    objective, model = made(), Guess()
    images, classes = objective.source.held_out
    logits = model(torch.from_numpy(images))
    found = evaluate(model, objective, objective.held_out(), ALONE, rows=rows, padded=padded)
    right = (logits.argmax(-1) == torch.from_numpy(classes)).double().mean()
    assert found["accuracy"] == float(right)
    nats = F.cross_entropy(logits.double(), torch.from_numpy(classes))
    assert found["cross_entropy"] == pytest.approx(float(nats), rel=1e-5)


def test_a_sample_shows_what_the_model_says() -> None:
    shown = made().sample(Guess())
    assert shown is not None and shown.kind == "picture"
    guesses, classes = shown.data["guesses"], shown.data["classes"]
    last = shown.text.splitlines()[-1]
    for guess, right in zip(guesses, classes, strict=True):
        assert (str(guess) if guess == right else f"{guess} (is {right})") in last


@pytest.mark.parametrize(
    ("group", "batch", "rows", "fits"),
    [(None, 8, 3, True), (2, 8, 4, True), (2, 8, 3, False), ("batch", 8, 8, True), ("batch", 8, 4, False)],
)
def test_terms_over_several_examples_forbid_passes_that_cut_them(
    group: int | str | None, batch: int, rows: int, fits: bool
) -> None:
    objective = Objective()
    objective.group = group  # type: ignore[assignment]
    if fits:
        check_passes(objective, batch, rows)
    else:
        with pytest.raises(ValueError, match=r"leave train\.microbatch out"):
            check_passes(objective, batch, rows)
