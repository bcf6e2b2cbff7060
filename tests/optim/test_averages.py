"""Averages of weights against PyTorch's and in closed form; averages of outputs."""

from __future__ import annotations

from math import comb

import pytest
import torch
import torch.nn as nn
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from danlu import spec
from danlu.nn.registry import build
from danlu.optim.averages import EMA, SWA, Average, Ensemble, average_outputs


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()


def wander(model: nn.Module) -> None:
    """Other weights and other running averages of activations."""
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p))
    model(torch.randn(5, 3, dtype=torch.float64))


def assert_close(average: Average, theirs: AveragedModel) -> None:
    for name, p in theirs.module.named_parameters():
        torch.testing.assert_close(average.tensors[name], p.detach(), rtol=1e-12, atol=1e-12)


def test_ema_is_that_of_pytorch() -> None:
    """PyTorch's has one decay from the second weights on; ours has reached 0.1 there."""
    model = network()
    ours, theirs = EMA(model.named_parameters(), decay=0.1), AveragedModel(model, multi_avg_fn=ema_of(0.1))
    for _ in range(20):
        wander(model)
        ours.update()
        theirs.update_parameters(model)
        assert_close(ours, theirs)


def ema_of(decay: float):
    return get_ema_multi_avg_fn(decay)


def test_ema_is_that_of_pytorch_with_the_decay_of_each_update() -> None:
    model = network()
    seen = 0

    def function(averages, now, count) -> None:
        ema_of(min(0.8, (seen - 1) / (seen + 8)))(averages, now, count)

    ours, theirs = EMA(model.named_parameters(), decay=0.8), AveragedModel(model, multi_avg_fn=function)
    for seen in range(1, 61):  # noqa: B007
        wander(model)
        ours.update()
        theirs.update_parameters(model)
    assert 59 / 68 > 0.8  # the decay was reached
    assert_close(ours, theirs)


def test_the_start_of_an_ema_in_closed_form() -> None:
    """Weights ∝ i(i + 1)…(i + 7) = 8!·C(i + 7, 8), which sum up to 8!·C(n + 8, 9)."""
    points = torch.randn(30, 5, dtype=torch.float64)
    p = nn.Parameter(torch.zeros(5, dtype=torch.float64))
    average = EMA([("p", p)], decay=0.999)
    for n, point in enumerate(points, start=1):
        p.data.copy_(point)
        average.update()
        shares = torch.tensor([comb(i + 7, 8) / comb(n + 8, 9) for i in range(1, n + 1)], dtype=torch.float64)
        assert float(shares.sum()) == pytest.approx(1, abs=1e-12)
        torch.testing.assert_close(average.tensors["p"], shares @ points[:n], rtol=1e-12, atol=1e-12)


def test_when_the_decay_is_reached() -> None:
    average = EMA([], decay=0.999)
    assert average.weight(8991) > 0.001 + 1e-8
    assert average.weight(8992) == pytest.approx(0.001, abs=1e-15) == average.weight(10**9)


def test_swa_is_that_of_pytorch() -> None:
    model = network()
    ours, theirs = SWA(model.named_parameters(), start=0.25, every=3), AveragedModel(model)
    for step in range(40):
        wander(model)
        ours.update(step / 40)
        if step >= 10 and (step - 10) % 3 == 0:
            theirs.update_parameters(model)
    assert ours.seen == 30
    assert_close(ours, theirs)


@given(st.integers(1, 40), st.integers(1, 7))
def test_swa_is_the_mean(count: int, every: int) -> None:
    p = nn.Parameter(torch.zeros((), dtype=torch.float64))
    average = SWA([("p", p)], start=0, every=every)
    for step in range(count):
        p.data.fill_(step)
        average.update()
    taken = range(0, count, every)
    assert float(average.tensors["p"]) == pytest.approx(sum(taken) / len(taken), abs=1e-12)


def test_in_place_and_back() -> None:
    model = network()
    average = SWA(model.named_parameters(), start=0, every=1)
    for _ in range(3):
        wander(model)
        average.update()
    wander(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(KeyboardInterrupt), average.in_place():
        for name, tensor in model.state_dict().items():  # buffers stay those of the last weights
            assert torch.equal(tensor, average.tensors.get(name, before[name]))
        raise KeyboardInterrupt
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_four_bytes_a_parameter(dtype: torch.dtype) -> None:
    p = nn.Parameter(torch.randn(7, 11).to(dtype))
    average = EMA([("p", p)], decay=0.5)
    average.update()
    assert sum(e.nbytes for e in average.tensors.values()) == 4 * p.numel()
    assert torch.equal(average.tensors["p"], p.detach().float())
    with torch.no_grad():
        p.mul_(1.5)
    average.update()  # 1/10 of the first, exactly representable or not, in float32
    mean = 0.1 * p.detach().float() / 1.5 + 0.9 * p.detach().float()
    torch.testing.assert_close(
        average.tensors["p"], mean, rtol=2e-2 if dtype != torch.float32 else 1e-6, atol=0
    )
    own = p.detach().clone()
    with average.in_place():
        assert torch.equal(p, average.tensors["p"].to(dtype))
    assert torch.equal(p, own) and p.dtype == dtype


def test_taken_over() -> None:
    model = network()
    one, other = (EMA(model.named_parameters()) for _ in range(2))
    for _ in range(4):
        wander(model)
        one.update()
    other.load(one.tensors)
    other.seen = one.seen
    wander(model)
    one.update()
    other.update()
    assert all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())
    with pytest.raises(KeyError):
        other.load({})


def test_built_from_a_specification() -> None:
    ema, swa = (build(s, network().named_parameters()) for s in (spec.EMA(decay=0.9), spec.SWA(start=0.5)))
    assert isinstance(ema, EMA) and ema.decay == 0.9
    assert isinstance(swa, SWA) and (swa.start, swa.every) == (0.5, 10)


# ---------------------------------------------------------------- outputs


def test_mean_of_probabilities() -> None:
    logits = torch.randn(3, 4, 7, dtype=torch.float64) * 5
    mean = average_outputs(list(logits))
    torch.testing.assert_close(mean.softmax(-1), logits.softmax(-1).mean(0), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(mean.exp().sum(-1), torch.ones(4, dtype=torch.float64), rtol=1e-12, atol=0)


def test_the_output_of_the_mean_weights_of_a_linear_model_is_the_mean_of_outputs() -> None:
    models = [nn.Linear(5, 7).double() for _ in range(4)]
    mean = nn.Linear(5, 7).double()
    average = SWA(mean.named_parameters(), start=0, every=1)
    for model in models:
        mean.load_state_dict(model.state_dict())
        average.update()
    x = torch.randn(6, 5, dtype=torch.float64)
    with average.in_place():
        torch.testing.assert_close(Ensemble(models, of="logits")(x), mean(x), rtol=1e-12, atol=1e-12)


def test_equal_models_are_one() -> None:
    model = nn.Linear(5, 7).double()
    x = torch.randn(6, 5, dtype=torch.float64)
    for of in ("probabilities", "logits"):
        together = Ensemble([model, model], of=of)(x)
        torch.testing.assert_close(together.softmax(-1), model(x).softmax(-1), rtol=1e-12, atol=1e-15)
