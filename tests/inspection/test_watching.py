"""What is seen of a network in a pass is what its own numbers say."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from danlu import spec
from danlu.inspection import numbers, weighing
from danlu.inspection.table import STATISTICS, in_words, known
from danlu.inspection.watching import activations, stream_gradients
from tests.models.small import attention, tokens
from tests.models.small import small as network


def seen(**settings: Any) -> tuple[Any, torch.Tensor, dict[str, float]]:
    model, shown = network(**attention(), **settings), tokens()
    return model, shown, activations(model, lambda: model(shown), whole=True)


def test_the_table_knows_everything_that_is_found() -> None:
    model, shown, values = seen()
    values |= weighing.weights(model)
    values |= stream_gradients(model, lambda: model(shown).logsumexp(-1).sum().backward())
    values |= weighing.gradients(model) | weighing.changes(model, model)
    names = {key.partition("/")[0] for key in values}
    assert all(known(name) for name in names)
    of_runs = {"update"}  # an update is a run's
    assert set(STATISTICS) - of_runs == {name.removesuffix("-rest") for name in names}
    rest = {one.without_first for one in STATISTICS.values()} - {""}
    assert rest == {name for name in names if name.endswith("-rest")}
    assert all(math.isfinite(value) for value in values.values())
    assert all(name in in_words(f"{name}/x") or "/" not in in_words(f"{name}/x") for name in names)


def test_the_stream_is_the_sum_of_its_branches() -> None:
    """Of a pre-norm block: growth, branch and stream fit together where branches are caught by hand."""
    model, shown, values = seen()
    kept: dict[str, torch.Tensor] = {}
    block = model.blocks[1]
    hooks = [block.register_forward_hook(lambda m, x, y: kept.update(before=x[0], after=y))]
    hooks += [
        part.register_forward_hook(lambda m, x, y, name=name: kept.update({name: y}))
        for name, part in (("mixer", block.mixer), ("feed_forward", block.feed_forward))
    ]
    model(shown)
    for hook in hooks:
        hook.remove()
    whole = kept["before"] + kept["mixer"] + kept["feed_forward"]
    rms = {name: float(x.detach().square().mean().sqrt()) for name, x in (kept | {"whole": whole}).items()}
    assert values["stream/blocks.1"] == pytest.approx(rms["whole"], rel=1e-5)
    assert values["growth/blocks.1"] == pytest.approx(rms["whole"] / rms["before"], rel=1e-5)
    assert values["branch/blocks.1.mixer"] == pytest.approx(rms["mixer"], rel=1e-5)
    assert values["branch/blocks.1.feed_forward"] == pytest.approx(rms["feed_forward"], rel=1e-5)
    rest = kept["after"].detach()[:, 1:]
    assert values["kurtosis-rest/blocks.1"] == pytest.approx(float(numbers.excess_kurtosis(rest)), rel=1e-4)


def test_an_output_that_is_no_logits_has_no_partition_function() -> None:
    """Numbers that are predicted: ln Σe^x of them says nothing."""
    model, shown, of_logits = seen()
    values = activations(model, lambda: model(shown), whole=True, logits=False)
    out = float(model(shown).detach().square().mean().sqrt())
    assert values.pop("branch/out") == pytest.approx(out, rel=1e-6)
    assert values.keys() == of_logits.keys() - {"logits/out", "logits-max/out", "logz/out"}
    assert in_words("branch/out") == "RMS of the output"


def test_the_mean_of_bondarenko_is_over_five_tensors() -> None:
    model, shown, values = seen()
    block, kept = model.blocks[0], []
    five = [block, block.mixer_norm, block.feed_forward_norm, block.mixer, block.feed_forward]
    hooks = [part.register_forward_hook(lambda m, x, y: kept.append(y.detach())) for part in five]
    model(shown)
    for hook in hooks:
        hook.remove()
    expected = sum(float(numbers.sequence_kurtosis(x)) for x in kept) / 5
    assert len(kept) == 5 and values["kurtosis-sequence/blocks.0"] == pytest.approx(expected, rel=1e-4)
    largest = max(float(numbers.sequence_max(x)) for x in kept)
    assert values["sequence-max/blocks.0"] == pytest.approx(largest, rel=1e-5)


def test_attention_to_a_memory_is_a_layer_of_its_own() -> None:
    model = network(spec.EncoderDecoder, **attention())
    given = tokens(), tokens()
    values = activations(model, lambda: model(given[0], encoder_tokens=given[1]), whole=True)
    cross = {key.partition("/")[0] for key in values if key.endswith(".cross")}
    assert cross == {"logits", "logits-rms", "entropy"}  # its first key is no first position
    assert "sink-rate/decoder.blocks.0" in values and "sink-rate/encoder.blocks.0" in values


def test_gradients_at_the_stream() -> None:
    model, shown = network(**attention()), tokens()
    kept: list[torch.Tensor] = []
    hook = model.blocks[0].register_forward_hook(lambda m, x, y: kept.append(y))
    (loss,) = (model(shown).logsumexp(-1).sum(),)
    (expected,) = torch.autograd.grad(loss, kept[0])
    hook.remove()
    values = stream_gradients(model, lambda: model(shown).logsumexp(-1).sum().backward())
    assert values["stream-gradient/blocks.0"] == pytest.approx(float(numbers.rms(expected)), rel=1e-5)


def test_gradients_by_part() -> None:
    """Rows of tokens that do not occur have no gradient; the squares add up to the whole."""
    model, shown = network(**attention(), tied=False), torch.tensor([[1, 2, 3, 1]])
    model(shown).square().sum().backward()
    values = weighing.gradients(model)
    assert values["gradient-zero/embedding"] == pytest.approx(1 - 3 / 13)
    squares = sum(value**2 for key, value in values.items() if key.startswith("gradient/"))
    whole = sum(float(p.grad.double().square().sum()) for p in model.parameters() if p.grad is not None)
    assert squares == pytest.approx(whole, rel=1e-5)


def test_changes_and_ranks_by_part() -> None:
    before, after = network(**attention()), network(**attention())
    with torch.no_grad():
        for p in after.blocks[0].mixer.parameters():
            p *= 1.1
        after.blocks[1].feed_forward.out.weight.copy_(torch.eye(16, 64) * 0.3)
    found = weighing.changes(before, after)
    assert found["change/blocks.1.mixer"] == 0 and found["change/embedding"] == 0
    sides = [dict(before.blocks[0].named_parameters()), dict(before.blocks[0].mixer.named_parameters())]
    of_part, own = (
        sum(float(p.detach().square().sum()) for name, p in side.items() if i or name.startswith("mixer"))
        for i, side in enumerate(sides)
    )
    assert found["change/blocks.0.mixer"] == pytest.approx(0.1 * math.sqrt(own / of_part), rel=1e-4)
    ranks = weighing.weights(after)
    s = torch.linalg.svdvals(after.blocks[1].feed_forward.up.weight.detach().double())
    p = s / s.sum()
    up = float((-(p * p.log()).sum()).exp())
    assert ranks["weight-rank/blocks.1.feed_forward"] == pytest.approx((up + 16) / 2, rel=1e-5)
