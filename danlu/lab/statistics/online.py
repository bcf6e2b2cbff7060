"""False discoveries among questions that come one after another, for as long as one asks."""

from __future__ import annotations

import math
from collections.abc import Sequence

FDR = 0.1
DECAY = 1.6
SUM = 2.2857656582  # Σ_{t≥1} t^−1.6, Riemann's ζ(1.6)


def share(t: int) -> float:
    """γ_t: what the t-th question (from 1) has of the whole error, t^−1.6/Σ t^−1.6."""
    return t**-DECAY / SUM


def discoveries(evidence: Sequence[float], alpha: float = FDR) -> list[bool]:
    """Which of the questions asked so far, in the order in which they were registered, are discoveries, so
    that the expected share of false ones among them is at most ``alpha`` at every time, whatever depends on
    whatever: k*_t = max{k: #{i ≤ t: E_i ≥ 1/(γ_i α k)} ≥ k}, and those E_i ≥ 1/(γ_i α k*_t) (online e-BH;
    Fischer, Xu & Ramdas 2024, arXiv 2407.20683).

    ``evidence``: of each question as it is now (``sequential.evidence``), not the largest that it ever had,
    which would not be e-values (arXiv 2501.19360). One that crashed, was void or is not answered yet has
    none, 0, and counts as asked. What is a discovery may become more with further evidence, and fewer."""
    need = sorted(_need(i, e, alpha) for i, e in enumerate(evidence, 1))
    most = max((k for k, least in enumerate(need, 1) if least <= k), default=0)
    return [_need(i, e, alpha) <= most for i, e in enumerate(evidence, 1)]


def needed(t: int, found: int = 0, alpha: float = FDR) -> float:
    """The evidence by which the t-th question becomes a discovery where ``found`` others are: 1/(γ_t α
    (found + 1))."""
    return 1 / (share(t) * alpha * (found + 1))


def from_p(p: float) -> float:
    """Evidence from a p value that was not looked at before the end: ∫₀¹ κ p^(κ−1) dκ = (e^u − 1 − u)/u² with
    u = −ln p, whose mean is at most 1 where there is nothing to find (Vovk & Wang 2021, eq. 2)."""
    if p <= 0:
        return math.inf
    u = max(-math.log(p), 0.0)
    return (math.expm1(u) - u) / u**2 if u > 1e-3 else 0.5 + u / 6  # the difference is lost where u is small


def _need(t: int, evidence: float, alpha: float) -> float:
    """The fewest discoveries with which this question is one of them."""
    return needed(t, 0, alpha) / evidence if evidence > 0 else math.inf
