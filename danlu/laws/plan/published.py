"""How published laws divide one budget: size, tokens and tokens for each parameter, side by side.

Only constants that were confirmed stand here. Of OLMo's ladder it is the law of its loss on C4, in nats per
token; its laws of tasks, in bits per byte, divide compute for one task each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from danlu.laws.base import Array
from danlu.laws.best import best_size
from danlu.laws.formulas.chinchilla import CHINCHILLA, optimum
from danlu.laws.formulas.farseer import FARSEER
from danlu.laws.formulas.kaplan import PF_DAY
from danlu.laws.formulas.repeated import DATA_CONSTRAINED
from danlu.laws.plan.basis import POINTS
from danlu.laws.table import FLOPS_PER_PARAMETER_AND_TOKEN

Divide = Callable[[float], tuple[float, float]]  # from FLOP to parameters and tokens
LEFT_OUT = "OLMo's ladder by its loss on C4; its laws of tasks, in bits per byte, are left out"


class Division(NamedTuple):
    """``key``: ASCII. ``largest``: times the largest compute that the law was fitted to; ``trained``: times
    that of the largest run which its authors trained by it. None: not known."""

    key: str
    name: str
    parameters: float
    tokens: float
    largest: float | None
    trained: float | None
    counts: str
    source: str

    @property
    def ratio(self) -> float:
        """Tokens for each parameter."""
        return self.tokens / self.parameters


@dataclass(frozen=True)
class _Published:
    """``largest``: compute of its fit, FLOP; ``trained``: of the largest run that its authors trained by it,
    FLOP; None where it is not known."""

    name: str
    divide: Divide
    largest: float | None
    source: str
    counts: str = "all parameters"
    trained: float | None = None

    def over(self, flops: float) -> tuple[float | None, float | None]:
        """FLOP over the largest of the fit, and over the largest run trained by it."""
        largest, trained = (None if one is None else flops / one for one in (self.largest, self.trained))
        return largest, trained


def _by(theta: Array) -> Divide:
    """The optimum of Chinchilla's law, theta (5,)."""

    def divide(flops: float) -> tuple[float, float]:
        n, d = optimum(theta, flops)
        return float(n), float(d)

    return divide


def _through(small: tuple[float, float], large: tuple[float, float]) -> Divide:
    """The power law N(C) through two rows, (FLOP, parameters), of a published table; D = C/6N."""
    a = math.log(large[1] / small[1]) / math.log(large[0] / small[0])

    def divide(flops: float) -> tuple[float, float]:
        n = small[1] * (flops / small[0]) ** a
        return n, flops / (FLOPS_PER_PARAMETER_AND_TOKEN * n)

    return divide


def _kaplan(flops: float) -> tuple[float, float]:
    days = flops / PF_DAY
    return 1.3e9 * days**0.73, 2e10 * days**0.27


def _llama3(flops: float) -> tuple[float, float]:
    # The paper prints D = 0.29·C^0.53, two digits that miss its own prediction, 402B and 16.55T at 3.8e25,
    # by a half. Here the exponent is as printed, and the scale is that of the prediction.
    return 402e9 * (flops / 3.8e25) ** 0.47, 16.55e12 * (flops / 3.8e25) ** 0.53


def _deepseek(flops: float) -> tuple[float, float]:
    return 0.1715 * flops**0.5243 / FLOPS_PER_PARAMETER_AND_TOKEN, 5.8316 * flops**0.4757


def _gemstones(flops: float) -> tuple[float, float]:
    return math.exp(-1.0258604) * flops**0.45790308, math.exp(-0.0295208704) * flops**0.52489868


def _farseer(flops: float) -> tuple[float, float]:
    n = float(best_size(FARSEER, FARSEER.theta("farseer")[None], np.array([flops]))[0])
    return n, flops / (FLOPS_PER_PARAMETER_AND_TOKEN * n)


def _porian(flops: float) -> tuple[float, float]:
    n = PORIAN[0] * flops ** PORIAN[1]
    return n, flops / (FLOPS_PER_PARAMETER_AND_TOKEN * n)


PORIAN = (0.1181990, 0.4970288)  # least squares of ln N on ln C through the twelve optima of their tuned runs
# E, A, B, α, β: the fit by the authors' code to the last evaluations of their 16 runs. It is their own, since
# it predicts a loss on C4 of 2.3443873 for 13,202,396,160 parameters on 5,000,088,518,656 tokens, as their
# figures/step1_c4_main.csv does. Sizes leave out the input embedding alone.
OLMO = np.array([0.934375406, 12.4828368, 33.4768178, 0.103602918, 0.161968535])
HOFFMANN = "Hoffmann et al. 2022, arXiv:2203.15556"
TABLES = f"{HOFFMANN}, tables 3 and A3"
LARGEST = POINTS["c"][1]
CHINCHILLA_70B = 5.76e23  # of the model that the three approaches were to find the size of
PUBLISHED = {
    "kaplan": _Published(
        "Kaplan", _kaplan, None, "Kaplan et al. 2020, arXiv:2001.08361, table 6: compute of a tiny batch",
        "without embeddings",
    ),
    "chinchilla_1": _Published(
        "Chinchilla, approach 1", _through((1.21e20, 1e9), (1.30e28, 1e13)), LARGEST, TABLES,
        trained=CHINCHILLA_70B,
    ),
    "chinchilla_2": _Published(
        "Chinchilla, approach 2", _through((1.20e20, 1e9), (1.75e28, 1e13)), 3e21, TABLES,
        trained=CHINCHILLA_70B,
    ),
    "chinchilla_3": _Published(
        "Chinchilla, approach 3", _by(CHINCHILLA.theta("hoffmann")), LARGEST,
        CHINCHILLA.published["hoffmann"].source, trained=CHINCHILLA_70B,
    ),
    "besiroglu": _Published(
        "Chinchilla refitted", _by(CHINCHILLA.theta("besiroglu")), LARGEST,
        CHINCHILLA.published["besiroglu"].source,
    ),
    "muennighoff": _Published(
        "Muennighoff, fresh data", _by(DATA_CONSTRAINED.theta("muennighoff")[:5]), None,
        "Muennighoff et al. 2023, arXiv:2305.16264: on C4",
    ),
    "porian": _Published(
        "Porian", _porian, 2.56e19,
        "Porian et al. 2024, arXiv:2406.19146: a line through the optima they publish, all corrections made",
        "without the input embedding",
    ),
    "gemstones": _Published(
        "Gemstones, approach 1", _gemstones, None,
        "McLeish et al. 2025, arXiv:2502.06857: hull of all tokens, parameters/approach_1… of their code",
    ),
    "farseer": _Published(
        "Farseer", _farseer, None, FARSEER.published["farseer"].source, "without embeddings"
    ),
    "olmo_c4": _Published(
        "OLMo ladder, loss on C4", _by(OLMO), 1.96e21,
        "Bhagia et al. 2024, arXiv:2412.04403: fitted again to their runs of 20 to 200 tokens per parameter",
        "without the input embedding",
        trained=6 * 13202396160 * 5000088518656,  # 13B on 5T tokens, whose loss it predicted 3.8 % too low
    ),
    "llama_3": _Published(
        "Llama 3", _llama3, 1e22, "Grattafiori et al. 2024, arXiv:2407.21783, section 3.2.1",
        trained=3.8e25,  # 405B
    ),
    "deepseek": _Published(
        "DeepSeek", _deepseek, 3e20, "Bi et al. 2024, arXiv:2401.02954, equation 4: N = M/6",
        "FLOPs of a token over 6, without embeddings",
        trained=6 * 67e9 * 2e12,  # 67B on 2T tokens, whose loss it predicted
    ),
}  # fmt: skip


def divisions(flops: float) -> list[Division]:
    """What each published law makes of ``flops``."""
    return [
        Division(
            key, one.name, *one.divide(flops), *one.over(flops), one.counts, one.source,
        )
        for key, one in PUBLISHED.items()
    ]  # fmt: skip
