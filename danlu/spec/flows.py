"""Specifications of generation by ODEs: kernels, paths, levels, weights, grids, samplers, couplings,
priors.

Built by ``danlu.flows``. Clocks: paths run from t = 0, noise, to t = 1, data; levels σ fall from large to 0.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from danlu.spec.base import NonNegativeFloat, PositiveFloat, PositiveInt, Spec
from danlu.spec.families import Family


class OwnPart(Spec):
    """What the specifications of own parts of these families are made on."""


# ---- kernels: isotropic noise by scale


class Gaussian(Spec):
    """Normal noise: VE and EDM (Karras et al. 2022)."""

    kind: Literal["gaussian"] = "gaussian"


class StudentT(Spec):
    """PFGM++ (Xu et al. 2023): ``extra`` dimensions D beside the data's; 1 is ``poisson``, ∞ ``gaussian``."""

    kind: Literal["student"] = "student"
    extra: Annotated[float, Field(ge=1)] = 128.0


class Poisson(Spec):
    """PFGM (Xu et al. 2022): one extra dimension, Cauchy noise."""

    kind: Literal["poisson"] = "poisson"


class Tanh(Spec):
    """The radius has the law tanh(r/σ) (Su 2022, spaces.ac.cn/archives/9370)."""

    kind: Literal["tanh"] = "tanh"


class Exponential(Spec):
    """The radius has the law 1 − exp(−r/σ) (Su 2022, spaces.ac.cn/archives/9370)."""

    kind: Literal["exponential"] = "exponential"


KERNEL = Family("kernel", base=OwnPart, needs=("log_psi", "cdf", "noise"))
Kernel = Annotated[Gaussian | StudentT | Poisson | Tanh | Exponential, KERNEL]


# ---- paths from noise to data


class LinearPath(Spec):
    """(1 − t) x₀ + t x₁: rectified flow (Liu et al. 2022), I-CFM without noise."""

    kind: Literal["linear"] = "linear"


class Smoothed(Spec):
    """The linear path with noise ``sigma`` all along (I-CFM, Tong et al. 2023, eq. 14)."""

    kind: Literal["smoothed"] = "smoothed"
    sigma: PositiveFloat = 0.1


class Lipman(Spec):
    """The linear path to data with noise ``sigma`` (Lipman et al. 2023, eq. 20; there called OT, which it is
    not)."""

    kind: Literal["lipman"] = "lipman"
    sigma: Annotated[float, Field(ge=0, lt=1)] = 1e-4


class Trigonometric(Spec):
    """cos(πt/2) x₀ + sin(πt/2) x₁ (Albergo & Vanden-Eijnden 2023)."""

    kind: Literal["trigonometric"] = "trigonometric"


class Bridge(Spec):
    """The linear path with a Brownian bridge of ``sigma`` (Tong et al. 2023, eq. 20)."""

    kind: Literal["bridge"] = "bridge"
    sigma: PositiveFloat = 1.0


class Interpolant(Spec):
    """A stochastic interpolant (Albergo, Boffi & Vanden-Eijnden 2023): a ``mean`` and a ``tube`` of noise,
    ``scale`` times √(t(1 − t)), t(1 − t) or sin² πt."""

    kind: Literal["interpolant"] = "interpolant"
    mean: Literal["linear", "trigonometric"] = "linear"
    tube: Literal["brownian", "quadratic", "sine"] = "brownian"
    scale: PositiveFloat = 1.0


class Betas(Spec):
    """What VP and sub-VP have: β rises in a straight line from ``beta_min`` at data to ``beta_max``."""

    beta_min: PositiveFloat = 0.1
    beta_max: PositiveFloat = 20.0

    @model_validator(mode="after")
    def _rise(self) -> Self:
        if self.beta_min >= self.beta_max:
            raise ValueError(f"beta_min = {self.beta_min} is not below beta_max = {self.beta_max}")
        return self


class VP(Betas):
    """Variance preserving (Song et al. 2021, eq. 32)."""

    kind: Literal["vp"] = "vp"


class SubVP(Betas):
    """Sub-VP (Song et al. 2021, eq. 29)."""

    kind: Literal["sub-vp"] = "sub-vp"


class Between(Spec):
    """Levels from ``low`` to ``high``."""

    low: PositiveFloat = 0.002
    high: PositiveFloat = 80.0

    @model_validator(mode="after")
    def _rise(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low = {self.low} is not below high = {self.high}")
        return self


class VE(Between):
    """Variance exploding: σ falls from ``high`` to ``low`` evenly in ln σ (Song et al. 2021, eq. 31)."""

    kind: Literal["ve"] = "ve"
    low: PositiveFloat = 0.01
    high: PositiveFloat = 50.0


PATH = Family("path", base=OwnPart, needs=("scales", "rates", "at", "target"))
Path = Annotated[
    LinearPath | Smoothed | Lipman | Trigonometric | Bridge | Interpolant | VP | SubVP | VE, PATH
]


# ---- levels: the law of training, its weight, the grid of sampling


class LogNormal(Spec):
    """ln σ ~ N(mean, sd²) (Karras et al. 2022, table 1)."""

    kind: Literal["lognormal"] = "lognormal"
    mean: float = -1.2
    sd: PositiveFloat = 1.2


class LogUniform(Between):
    """ln σ uniform from ln ``low`` to ln ``high``."""

    kind: Literal["loguniform"] = "loguniform"


LEVELS = Family("levels", base=OwnPart, needs=("level",))
Levels = Annotated[LogNormal | LogUniform, LEVELS]


class DataWeight(Spec):
    """1: the squared error of the denoised data."""

    kind: Literal["data"] = "data"


class NoiseWeight(Spec):
    """1/σ²: the squared error of the predicted noise."""

    kind: Literal["noise"] = "noise"


class EDMWeight(Spec):
    """1/σ² + 1/σ_d² with σ_d = ``sigma_data`` (Karras et al. 2022)."""

    kind: Literal["edm"] = "edm"
    sigma_data: PositiveFloat = 0.5


WEIGHT = Family("weight", base=OwnPart, functions=True)
Weight = Annotated[DataWeight | NoiseWeight | EDMWeight, WEIGHT]


class Karras(Between):
    """Even in σ^(1/``rho``) from ``high`` to ``low``, then 0 (Karras et al. 2022, eq. 5)."""

    kind: Literal["karras"] = "karras"
    rho: PositiveFloat = 7.0


class Geometric(Between):
    """Even in ln σ from ``high`` to ``low``, then 0."""

    kind: Literal["geometric"] = "geometric"


GRID = Family("grid", base=OwnPart, needs=("levels",))
Grid = Annotated[Karras | Geometric, GRID]


# ---- samplers and couplings


class Euler(Spec):
    """Order 1, one evaluation a step: DDIM (Song, Meng & Ermon 2021)."""

    kind: Literal["euler"] = "euler"


class Heun(Spec):
    """Order 2, two evaluations a step (Karras et al. 2022, algorithm 1)."""

    kind: Literal["heun"] = "heun"


class RungeKutta(Spec):
    """Order 4, four evaluations a step."""

    kind: Literal["rk4"] = "rk4"


class DPM2(Spec):
    """DPM-Solver-2 (Lu et al. 2022, algorithm 1): order 2, two evaluations a step."""

    kind: Literal["dpm2"] = "dpm2"


class DPM2M(Spec):
    """DPM-Solver++(2M) (Lu et al. 2023, algorithm 2): order 2, one evaluation a step."""

    kind: Literal["dpm2m"] = "dpm2m"


class Churn(Spec):
    """Heun with noise added before each step (Karras et al. 2022, algorithm 2), for levels from ``low`` to
    ``high``; of Gaussian noise alone."""

    kind: Literal["churn"] = "churn"
    churn: NonNegativeFloat = 40.0
    low: NonNegativeFloat = 0.05
    high: PositiveFloat = 50.0
    inflate: PositiveFloat = 1.003


OVER_LEVELS = ("dpm2", "dpm2m", "churn")  # of noise; the others go over times, too
NOISY = ("smoothed", "bridge", "interpolant")  # paths with noise between their ends, which no level tells

SAMPLER = Family("sampler", base=OwnPart, needs=("steps", "sample"))
Sampler = Annotated[Euler | Heun | RungeKutta | DPM2 | DPM2M | Churn, SAMPLER]


class Independent(Spec):
    """Noise and data as they come."""

    kind: Literal["independent"] = "independent"


class OptimalTransport(Spec):
    """The assignment of the batch with the least squared distances (Tong et al. 2023)."""

    kind: Literal["ot"] = "ot"


class Entropic(Spec):
    """Each row of noise with a row of data that is drawn by the entropic plan of the batch. With ``epsilon``
    = 2σ² and the path ``bridge`` of σ: a Schrödinger bridge (Tong et al. 2023, section 3.3)."""

    kind: Literal["entropic"] = "entropic"
    epsilon: PositiveFloat = 2.0


class Reflow(Spec):
    """Noise and where the flow of another ``run`` takes it (Liu et al. 2022, section 2.2): pairs that make
    paths straighter. ``run``: the folder of a finished run on the same data; ``steps``: of its sampler."""

    kind: Literal["reflow"] = "reflow"
    run: str
    steps: Annotated[PositiveInt, Field(le=10_000)] = 8


COUPLING = Family("coupling", base=OwnPart, needs=("order", "pair"))
Coupling = Annotated[Independent | OptimalTransport | Entropic | Reflow, COUPLING]


# ---- laws of noise that a flow may start from


class Normal(Spec):
    """Standard normal."""

    kind: Literal["normal"] = "normal"


class Uniform(Spec):
    """Uniform from −``half`` to ``half`` in every number; left out: √3, for which the variance is 1."""

    kind: Literal["uniform"] = "uniform"
    half: PositiveFloat = 3**0.5


class Logistic(Spec):
    """Logistic in every number, with ``scale``; left out: √3/π, for which the variance is 1."""

    kind: Literal["logistic"] = "logistic"
    scale: PositiveFloat = 3**0.5 / math.pi


PRIOR = Family("prior", base=OwnPart, needs=("sample", "log_density"))
Prior = Annotated[Normal | Uniform | Logistic, PRIOR]
