"""Generation by ordinary differential equations: the mathematics, without networks and without drawing
numbers.

paths (t = 0 noise, t = 1 data) · kernels (noise by levels σ) · isotropic, characteristics, priors (Su's
constructions) · convert (denoised, noise, score, velocity) · levels (which σ, their weights, grids) ·
preconditioning · samplers · likelihood · couplings · straightness · exact (mixtures of Gaussians) · shapes.

Tensors are (batch, …). Times and levels are numbers or (batch,). Random numbers are arguments.
"""

from danlu.flows.characteristics import Characteristics, straight
from danlu.flows.convert import convert, denoiser_of, velocity_of
from danlu.flows.couplings import Coupling, Independent, OptimalTransport, reflow
from danlu.flows.entropic import Entropic, sinkhorn
from danlu.flows.exact import Mixture, gaussian
from danlu.flows.isotropic import Isotropic, gravity
from danlu.flows.kernels import Exponential, Gaussian, Kernel, Poisson, StudentT, Tanh, pfgm_official
from danlu.flows.levels import (
    DataWeight,
    EDMWeight,
    Geometric,
    Grid,
    Karras,
    Law,
    LogNormal,
    LogUniform,
    NoiseWeight,
    Weight,
)
from danlu.flows.likelihood import Likelihood, divergence, log_likelihood
from danlu.flows.paths import (
    VE,
    VP,
    Bridge,
    Interpolant,
    Linear,
    Lipman,
    Path,
    Plain,
    Smoothed,
    SubVP,
    Trigonometric,
)
from danlu.flows.preconditioning import Preconditioning
from danlu.flows.priors import Logistic, Normal, Prior, Uniform
from danlu.flows.samplers import DPM2, DPM2M, Churn, Euler, Heun, RungeKutta, Sampler, Solution
from danlu.flows.straightness import straightness

__all__ = [
    "DPM2",
    "DPM2M",
    "VE",
    "VP",
    "Bridge",
    "Characteristics",
    "Churn",
    "Coupling",
    "DataWeight",
    "EDMWeight",
    "Entropic",
    "Euler",
    "Exponential",
    "Gaussian",
    "Geometric",
    "Grid",
    "Heun",
    "Independent",
    "Interpolant",
    "Isotropic",
    "Karras",
    "Kernel",
    "Law",
    "Likelihood",
    "Linear",
    "Lipman",
    "LogNormal",
    "LogUniform",
    "Logistic",
    "Mixture",
    "NoiseWeight",
    "Normal",
    "OptimalTransport",
    "Path",
    "Plain",
    "Poisson",
    "Preconditioning",
    "Prior",
    "RungeKutta",
    "Sampler",
    "Smoothed",
    "Solution",
    "StudentT",
    "SubVP",
    "Tanh",
    "Trigonometric",
    "Uniform",
    "Weight",
    "convert",
    "denoiser_of",
    "divergence",
    "gaussian",
    "gravity",
    "log_likelihood",
    "pfgm_official",
    "reflow",
    "sinkhorn",
    "straight",
    "straightness",
    "velocity_of",
]
