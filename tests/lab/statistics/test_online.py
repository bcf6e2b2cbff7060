"""Online e-BH against its definition, its rate of false discoveries, evidence from p values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import integrate, special

from danlu.lab.statistics import evidence
from danlu.lab.statistics.online import FDR, discoveries, from_p, needed, share

EVIDENCE = st.lists(st.sampled_from([0.0, 1.0, 30.0, 100.0, 300.0, 1e3, 1e4, 1e5, math.inf]), max_size=12)


@given(EVIDENCE, st.sampled_from([0.05, 0.1, 0.3]))
def test_it_is_the_largest_set_that_its_definition_allows(found: list[float], alpha: float) -> None:
    """Over all k, most first: those with E_i ≥ 1/(γ_i α k), if they are k at least."""
    gamma = [i**-1.6 / special.zeta(1.6) for i in range(1, len(found) + 1)]
    wanted = [False] * len(found)
    for k in range(len(found), 0, -1):
        those = [e * g * alpha * k >= 1 for e, g in zip(found, gamma, strict=True)]
        if sum(those) >= k:
            wanted = those
            break
    assert discoveries(found, alpha) == wanted


@given(EVIDENCE, st.integers(0, 11))
def test_more_evidence_never_takes_a_discovery_away(found: list[float], which: int) -> None:
    more = [math.inf if i == which else e for i, e in enumerate(found)]
    assert all(b for a, b in zip(discoveries(found), discoveries(more), strict=True) if a)


def test_each_question_has_its_share() -> None:
    total = sum(share(t) for t in range(1, 20_001))
    tail = 20_000.5**-0.6 / 0.6 / special.zeta(1.6)  # ∫ from the last on
    assert total + tail == pytest.approx(1)
    assert discoveries([needed(1)]) == [True] and discoveries([0.999 * needed(1)]) == [False]
    first = [math.inf, needed(2, found=1)]
    assert discoveries(first) == [True, True] and discoveries([0.0, needed(2, found=1)]) == [False, False]


@pytest.mark.parametrize("wide", [0.0, 0.7])
def test_false_discoveries_with_shared_baselines(wide: float) -> None:
    """Sessions of 50 ideas, four of five without an effect, all against the same eight baseline runs;
    ``wide``: the share of ideas that nobody finished."""
    random = np.random.default_rng(1)
    sessions, shares, found = 200, [], 0
    for _ in range(sessions):
        base = random.normal(size=8)
        true = random.random(50) < 0.2
        asked = [
            0.0 if random.random() < wide else evidence([*(random.normal(-4.0 * effect, 1, 8) - base)])
            for effect in true
        ]
        said = np.array(discoveries(asked))
        shares.append((said & ~true).sum() / max(said.sum(), 1))
        found += (said & true).sum()
    assert np.mean(shares) <= FDR
    assert found >= sessions  # it finds something


@given(st.floats(1e-12, 1))
@example(1 - 1e-9)
@example(1.0)
def test_evidence_from_a_p_value_is_the_mean_of_its_calibrators(p: float) -> None:
    """∫₀¹ κ p^(κ−1) dκ, by SciPy."""
    wanted, _ = integrate.quad(lambda k: k * p ** (k - 1), 0, 1)
    assert from_p(p) == pytest.approx(wanted, rel=1e-6)


def test_evidence_from_p_values_of_nothing_is_one_on_the_average() -> None:
    """∫ E(p) dp = 1, here in ln p from 10⁻³⁰⁰ on; what is left below that is 1/ln of it."""
    total, _ = integrate.quad(lambda u: from_p(math.exp(-u)) * math.exp(-u), 0, 690, limit=500)
    assert total + 1 / 690 == pytest.approx(1, abs=1e-4)
    assert from_p(0.0) == math.inf
