"""Bottlenecks: what a representation must pass through, and what can be said of it.

contract (``Bottleneck``, ``Bottled``: one interface) · plain · gaussian · relaxed (gumbel, binary) · vq ·
fsq · lfq · noise (by a row's key, out of uniform numbers) · estimators (straight-through, rotation) · score
(leave-one-out, exact gradients, biases) · likelihood (a decoder's noise) · information (bounds, mutual
information) · linear_vae (an optimum in closed form) · annealing · reports (over a whole
set) · narrow (a bottleneck in the stream of a network).
"""

from danlu.nn.bottlenecks.contract import Bottled, Bottleneck, Noise
from danlu.nn.bottlenecks.estimators import rotated, straight_through
from danlu.nn.bottlenecks.fsq import FSQ
from danlu.nn.bottlenecks.gaussian import Gaussian, kl_between, kl_to_standard
from danlu.nn.bottlenecks.information import importance_bound, information
from danlu.nn.bottlenecks.lfq import LFQ
from danlu.nn.bottlenecks.likelihood import GaussianNoise
from danlu.nn.bottlenecks.linear_vae import linear_vae
from danlu.nn.bottlenecks.narrow import Narrow
from danlu.nn.bottlenecks.noise import keyed
from danlu.nn.bottlenecks.plain import Plain
from danlu.nn.bottlenecks.relaxed import Binary, Gumbel, concrete_log_density, kl_categorical
from danlu.nn.bottlenecks.reports import ActiveUnits, Usage
from danlu.nn.bottlenecks.score import exact_gradient, leave_one_out, straight_through_moments
from danlu.nn.bottlenecks.vq import VQ

__all__ = [
    "FSQ",
    "LFQ",
    "VQ",
    "ActiveUnits",
    "Binary",
    "Bottled",
    "Bottleneck",
    "Gaussian",
    "GaussianNoise",
    "Gumbel",
    "Narrow",
    "Noise",
    "Plain",
    "Usage",
    "concrete_log_density",
    "exact_gradient",
    "importance_bound",
    "information",
    "keyed",
    "kl_between",
    "kl_categorical",
    "kl_to_standard",
    "leave_one_out",
    "linear_vae",
    "rotated",
    "straight_through",
    "straight_through_moments",
]
