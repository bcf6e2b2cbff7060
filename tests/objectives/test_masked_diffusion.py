"""MDLM on tables that are known: the bound by enumeration, what is masked, what is written."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu import spec
from danlu.data import Dataset
from danlu.models import unmask
from danlu.objectives import IGNORED, MaskedDiffusion, held_out_keys, training_keys
from danlu.objectives import masked_diffusion as rule
from tests.objectives.fakes import BYTES, Table, example, objective, tensors, text

N, V = 4, 3  # positions and ids of the tiny texts; the mask is id 3
SUBSETS = [set(s) for k in range(1, N + 1) for s in itertools.combinations(range(N), k)]


class Three:
    """Three ids, each of which stands for a byte."""

    vocabulary, separator, ends = V, 0, frozenset()
    token_bytes = np.ones(V, np.int32)


class Conditionals(torch.nn.Module):
    """p(token | what is visible), an arbitrary table: logits in float64 for each text of ids and masks."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits  # ((V + 1)^N, N, V + 1), the mask's among them

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        places = (tokens * (V + 1) ** torch.arange(N)).sum(-1)
        return self.logits[places]


def tiny(z_loss: float = 0.0) -> MaskedDiffusion:
    return MaskedDiffusion(Dataset.outline(spec.Text(context=N), Three()), z_loss=z_loss)


def table(seed: int) -> Conditionals:
    generator = torch.Generator().manual_seed(seed)
    shape = (V + 1) ** N, N, V + 1
    return Conditionals(2 * torch.randn(*shape, dtype=torch.float64, generator=generator)).eval()


def masking(tokens: tuple[int, ...], hidden: set[int]) -> dict[str, torch.Tensor]:
    """An example of one row, as ``make`` would have drawn it."""
    shown = [V if i in hidden else t for i, t in enumerate(tokens)]
    wanted = [t if i in hidden else IGNORED for i, t in enumerate(tokens)]
    return {
        "tokens": torch.tensor([shown]),
        "targets": torch.tensor([wanted]),
        "weights": torch.tensor([N / len(hidden)], dtype=torch.float64),
    }


def nats(of: MaskedDiffusion, model: torch.nn.Module, tokens: tuple[int, ...], hidden: set[int]) -> float:
    return of.loss(model, masking(tokens, hidden)).total.item()


def mean_over_draws(of: MaskedDiffusion, model: torch.nn.Module, tokens: tuple[int, ...]) -> float:
    """The expectation over what ``make`` draws: each count alike, then each set of that count."""
    return sum(nats(of, model, tokens, s) / (N * math.comb(N, len(s))) for s in SUBSETS)


def over_orders(model: Conditionals, tokens: tuple[int, ...]) -> list[float]:
    """−ln p of the text as each order of its positions would write it."""
    found = []
    for order in itertools.permutations(range(N)):
        shown, total = [V] * N, 0.0
        for place in order:
            row = model(torch.tensor([shown]))[0, place, :V].log_softmax(-1)
            total -= row[tokens[place]].item()
            shown[place] = tokens[place]
        found.append(total)
    return found


# ---------------------------------------------------------------- the bound


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_is_the_mean_over_orders(seed: int) -> None:
    """And so no less than −ln of the mean probability over orders."""
    of, model = tiny(), table(seed)
    for tokens in ((0, 1, 2, 1), (2, 2, 2, 0)):
        orders = over_orders(model, tokens)
        found = mean_over_draws(of, model, tokens)
        assert found == pytest.approx(sum(orders) / len(orders), rel=1e-12)
        exact = -math.log(sum(math.exp(-one) for one in orders) / len(orders))
        assert found > exact + 0.01


def test_the_loss_is_that_of_independent_masks_over_continuous_time() -> None:
    """∫ dt/t E over masks of probability t, by Gauss-Legendre, exact for polynomials as these are in t."""
    of, model, tokens = tiny(), table(7), (1, 0, 2, 2)
    at, weights = np.polynomial.legendre.leggauss(N)
    integral = 0.0
    for t, weight in zip((at + 1) / 2, weights / 2, strict=True):
        for hidden in SUBSETS:
            chance = t ** len(hidden) * (1 - t) ** (N - len(hidden))
            unweighted = nats(of, model, tokens, hidden) * len(hidden) / N
            integral += weight * chance * unweighted / t
    assert mean_over_draws(of, model, tokens) == pytest.approx(integral, rel=1e-12)


@pytest.mark.parametrize("eps", [0.0, 1e-3])
def test_the_weight_is_that_of_the_schedule(eps: float) -> None:
    """σ = −ln α: dσ/expm1(σ) = 1/t for α = 1 − (1 − ε)t, whatever ε."""
    for t in np.arange(1, 64) / 64:
        alpha = 1 - (1 - eps) * t
        assert (1 - eps) / alpha / math.expm1(-math.log(alpha)) == pytest.approx(1 / t, rel=1e-12)


@pytest.mark.parametrize("power", [1, 3])
def test_the_loss_is_that_of_discrete_flow_matching(power: int) -> None:
    """Gat et al. 2024, as Meta's flow_matching has it, on the path from the mask to the text: where a share
    1 − κ is masked its weight is κ̇/(1 − κ), ours times the speed of its clock; SUBS takes the rest away."""
    reason = "the extra oracles is not installed"
    paths = pytest.importorskip("flow_matching.path", reason=reason)
    losses = pytest.importorskip("flow_matching.loss", reason=reason)
    scheduler = paths.scheduler.PolynomialConvexScheduler(n=power)
    theirs = losses.MixturePathGeneralizedKL(paths.MixtureDiscreteProbPath(scheduler), reduction="sum")
    of, model, text = tiny(), table(3), (2, 0, 1, 1)
    for hidden in SUBSETS:
        made = masking(text, hidden)
        kappa = 1 - len(hidden) / N
        time = torch.tensor([kappa], dtype=torch.float64) ** (1 / power)
        visible = made["targets"] == IGNORED
        certain = torch.nn.functional.one_hot(made["tokens"], V + 1).double().log()
        logits = model(made["tokens"]).clone()
        logits[..., V] = -torch.inf  # the mask is never predicted, a visible token is certain
        logits = torch.where(visible[..., None], certain, logits)
        expected = theirs(logits, torch.tensor([text]), made["tokens"], time)
        speed = power * time.item() ** (power - 1)
        assert expected.item() == pytest.approx(speed * nats(of, model, text, hidden), rel=1e-12)


def test_the_bound_is_tight_where_every_order_agrees() -> None:
    """Conditionals of one joint law: each order gives −ln p of the text, and so does the mean."""
    torch.manual_seed(0)
    joint = torch.randn((V,) * N, dtype=torch.float64).flatten().softmax(0).view((V,) * N)
    logits = torch.zeros((V + 1) ** N, N, V + 1, dtype=torch.float64)
    for shown in itertools.product(range(V + 1), repeat=N):
        place = sum(t * (V + 1) ** i for i, t in enumerate(shown))
        fixed = joint[tuple(slice(None) if t == V else slice(t, t + 1) for t in shown)]
        for i in range(N):
            each = fixed.sum(dim=[j for j in range(N) if j != i])
            if len(each) == V:
                logits[place, i, :V] = each.log()
    model, tokens = Conditionals(logits).eval(), (2, 0, 1, 1)
    found = mean_over_draws(tiny(), model, tokens)
    assert found == pytest.approx(-math.log(joint[tokens].item()), rel=1e-12)


def test_a_uniform_guess_costs_the_logarithm_of_the_ids_for_every_row() -> None:
    """Not in the mean alone: weights are such that no draw costs more than another."""
    of = objective(spec.MaskedDiffusion(), 37)
    made = tensors(example(of, 64))
    model = Table(64, 37, 258).eval().requires_grad_(False)
    torch.nn.init.constant_(model.logits, 3.0)
    assert of.loss(model, made).total.item() == pytest.approx(64 * 37 * math.log(257), rel=1e-7)
    sums = {name: float(value) for name, value in of.score(model, made).items()}
    assert sums["tokens"] == sums["bytes"] == 64 * 37
    assert of.measure(sums) == {
        "bits_per_byte_bound": pytest.approx(math.log2(257), rel=1e-7),
        "held_out_loss": pytest.approx(math.log(257), rel=1e-7),
    }


# ---------------------------------------------------------------- SUBS


def test_a_visible_token_costs_nothing_and_the_mask_is_never_predicted() -> None:
    of, model, tokens, hidden = tiny(), table(1), (0, 1, 2, 1), {1, 3}
    shown = masking(tokens, hidden)
    before = nats(of, model, tokens, hidden)
    asked = model(shown["tokens"]).clone()
    model.logits = model.logits.clone()
    model.logits[:, [0, 2]] = torch.randn((V + 1) ** N, 2, V + 1, dtype=torch.float64)  # visible positions
    model.logits[..., V] = 50.0  # the mask, which the network now likes best
    assert nats(of, model, tokens, hidden) == before
    logits = of.logits(model, shown)
    assert logits.shape == (1, N, V)
    expected = -asked[0, :, :V].log_softmax(-1)[[1, 3], [1, 1]].sum().item() * N / 2
    assert before == pytest.approx(expected, rel=1e-12)


def test_the_z_loss_is_weighted_as_the_token_that_it_is_added_to() -> None:
    of, model, tokens, hidden = tiny(z_loss=0.5), table(2).train(), (0, 1, 2, 1), {0, 2, 3}
    made = masking(tokens, hidden)
    normaliser = model(made["tokens"])[0, [0, 2, 3], :V].logsumexp(-1)
    penalty = of.loss(model, made).penalty
    assert penalty is not None
    assert penalty.item() == pytest.approx(0.5 * normaliser.square().sum().item() * N / 3, rel=1e-12)


# ---------------------------------------------------------------- what is masked


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(0, 1000), st.integers(0, 50))
def test_the_share_masked_is_the_time_and_the_rest_is_as_it_was(context: int, seed: int, step: int) -> None:
    of = objective(spec.MaskedDiffusion(), context)
    inputs, _ = text(5, context, seed)
    made = example(of, 5, seed, step)
    masked = made["targets"] != IGNORED
    assert (made["tokens"] == of.mask_id).sum() == masked.sum()
    assert (made["tokens"][masked] == of.mask_id).all() and of.mask_id == BYTES.vocabulary
    assert np.array_equal(made["targets"][masked], inputs[masked])
    assert np.array_equal(made["tokens"][~masked], inputs[~masked])
    assert made["weights"].dtype == np.float32 and (masked.sum(1) >= 1).all()
    np.testing.assert_allclose(made["weights"] * masked.sum(1), context, rtol=1e-6)


def test_a_slice_of_the_rows_is_that_slice_of_the_whole() -> None:
    of = objective(spec.MaskedDiffusion(), 24)
    inputs, later = text(16, 24)
    whole = of.make(inputs, later, training_keys(3, 9, 0, 16))
    part = of.make(inputs[5:11], later[5:11], training_keys(3, 9, 5, 11))
    for name, array in part.items():
        assert np.array_equal(array, whole[name][5:11]), name


@pytest.mark.parametrize(
    "keys", [training_keys(0, 3, 0, 512), held_out_keys(range(512))], ids=["train", "held"]
)
def test_times_are_spread_evenly_over_rows(keys: list[Any]) -> None:
    """Of the multiples of the golden ratio any run of n leaves no gap beyond (2 + φ)/(φ² n) < 1.4/n, with
    room for the ends; and every time is as likely (below)."""
    for first, count in ((0, 8), (5, 50), (0, 512)):
        times = np.sort([rule.time(key) for key in keys[first : first + count]])
        gaps = np.diff(np.append(times, times[0] + 1))
        assert gaps.max() < 2 / count


def test_every_time_is_as_likely_over_updates() -> None:
    """χ² of 16 equal parts over 4,096 updates of one row: 15 degrees, exceeded by 50 once in 10⁵."""
    times = [rule.time(training_keys(1, step, 2, 3)[0]) for step in range(4096)]
    counts = np.bincount((np.array(times) * 16).astype(int), minlength=16)
    assert ((counts - 256) ** 2 / 256).sum() < 50


def test_every_position_is_as_likely_and_the_first_row_is_no_exception() -> None:
    """Position i of row 0 is masked in (n + 1)/(2n) of the updates; five standard deviations."""
    of = objective(spec.MaskedDiffusion(), 8)
    inputs, later = text(1, 8)
    hidden = sum(
        of.make(inputs, later, training_keys(0, step, 0, 1))["targets"][0] != IGNORED for step in range(4000)
    )
    p = 9 / 16
    assert (abs(hidden - 4000 * p) < 5 * math.sqrt(4000 * p * (1 - p))).all()


# ---------------------------------------------------------------- writing


def chances(model: Conditionals) -> np.ndarray:
    """The probability of every text when positions are written in random order."""
    found = np.zeros((V,) * N)
    for tokens in itertools.product(range(V), repeat=N):
        found[tokens] = np.mean(np.exp(-np.array(over_orders(model, tokens))))
    return found.ravel()


@pytest.mark.parametrize("steps", [None, 4000])
def test_texts_are_written_with_the_probability_of_a_random_order(steps: int | None) -> None:
    """χ² of 81 kinds: 80 degrees, exceeded by 150 less than once in 10⁵. With 4,000 steps two of four tokens
    meet in one step once in 700 texts."""
    of, model, count = tiny(), table(3), 4000
    start = torch.full((count, N), V)
    generator = torch.Generator().manual_seed(0)
    texts = unmask(
        lambda t: of.logits(model, {"tokens": t}), start, start == V, steps=steps, generator=generator
    )
    assert texts.max() < V
    expected = chances(model) * count
    seen = np.bincount((texts.numpy() @ V ** np.arange(N)[::-1]), minlength=V**N)
    likely = expected > 5
    rest = seen[~likely].sum() - expected[~likely].sum()
    chi = ((seen - expected)[likely] ** 2 / expected[likely]).sum() + rest**2 / expected[~likely].sum()
    assert expected.sum() == pytest.approx(count) and chi < 150


def test_in_one_step_every_token_is_written_alone() -> None:
    """From nothing, so that positions are independent: χ² of 81 kinds as above."""
    of, model, count = tiny(), table(4), 4000
    start = torch.full((count, N), V)
    texts = unmask(
        lambda t: of.logits(model, {"tokens": t}),
        start, start == V, steps=1, generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    alone = model(torch.full((1, N), V))[0, :, :V].softmax(-1).numpy()
    for place in range(N):
        expected = alone[place] * count
        seen = np.bincount(texts[:, place].numpy(), minlength=V)
        assert ((seen - expected) ** 2 / expected).sum() < 28  # 2 degrees: once in 10⁶


def test_what_is_visible_is_kept_and_gaps_are_filled() -> None:
    of, model = tiny(), table(5)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        filled = of.fill(model, np.array([V, 1, V, 2]), generator=generator)
        assert filled[1] == 1 and filled[3] == 2 and (filled < V).all()
    partly = of.fill(model, np.array([V, 1, V, V]), np.array([True, False, False, True]), generator=generator)
    assert partly[1] == 1 and partly[2] == V and partly[0] < V and partly[3] < V


def test_tokens_are_drawn_in_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the type of the logits: in float32 the noise is cut off, which acts as a lower temperature."""
    types, real = [], torch.multinomial

    def noted(chances: torch.Tensor, *rest: Any, **how: Any) -> torch.Tensor:
        types.append(chances.dtype)
        return real(chances, *rest, **how)

    monkeypatch.setattr(torch, "multinomial", noted)
    start = torch.full((1, N), V)
    unmask(lambda t: torch.zeros(*t.shape, V, dtype=torch.bfloat16), start, start == V)
    assert types == [torch.float64] * N


def test_a_text_longer_than_the_context_goes_on_from_the_last_half() -> None:
    of, model = tiny(), table(6)
    written = list(of.follow(model, [1], 23, seed=4))
    assert len(written) == 23 and max(written) < V
    assert written == list(of.follow(model, [1], 23, seed=4)) != list(of.follow(model, [1], 23, seed=5))
    assert list(of.follow(model, [1, 2, 0, 1, 1], 3, steps=1, seed=1))  # a prompt longer than the context


def test_a_prompt_of_ids_is_all_that_is_given() -> None:
    of, model, seen = tiny(), table(6), []
    given = model.forward
    model.forward = lambda tokens: (seen.append(tokens.clone()), given(tokens))[1]  # type: ignore[method-assign]
    assert len(list(of.follow(model, [1, 0], 2, bare=True))) == 2 and list(of.follow(model, [], 1))
    assert seen[0][0, :2].tolist() == [1, 0] and (seen[0][0, 2:] == of.mask_id).all()
    assert int(seen[-1][0, 0]) == of.separator


def test_documents_that_are_kept_apart_are_refused() -> None:
    with pytest.raises(spec.SpecError, match="would tell where documents end"):
        spec.resolve(["mdlm", "data.documents=separate"])
