"""What passes the bottleneck of a variational autoencoder, and what would at the optimum of a linear one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from danlu.data.points import Points
from danlu.lab.errors import LabError
from danlu.lab.measures.trained import Trained
from danlu.nn.bottlenecks import linear_vae
from danlu.nn.bottlenecks.linear_vae import LinearVAE
from danlu.objectives import Autoencode
from danlu.objectives.base import beside
from danlu.spec.bottlenecks import Gaussian

ROWS = 4096  # training examples that are looked at, of an endless set


def latent_nats(run: Trained) -> float:
    """KL(q(z|x)‖N(0, 1)) summed over latent numbers, the mean over training examples. Raises ``LabError``
    where the bottleneck of the run is no Gaussian of an autoencoder."""
    return float(_by_number(run).sum())


def nats_of_the_spectrum(run: Trained) -> float:
    """Σ ½ ln(λ/θ) over the eigenvalues λ of the covariance of the training data that exceed θ = β·s², at the
    decoder's noise s of the run: what ``latent_nats`` is at the optimum of a linear network (Lucas et al.
    2019; ``danlu.nn.bottlenecks.linear_vae``). Raises as ``latent_nats``."""
    return float(_best(run).kl.sum())


def nats_off_the_spectrum(run: Trained) -> float:
    """The largest |KL_j − ½ ln(λ_j/θ)₊| over latent numbers j, the most nats and the largest eigenvalues
    first: 0 at that optimum, where each latent number holds one direction of the data. Raises as
    ``latent_nats``."""
    found, best = _by_number(run).sort(descending=True).values, _best(run).kl
    found[: len(best)] -= best  # latent numbers beyond the directions of the data hold nothing there
    return float(found.abs().max())


@torch.no_grad()
def _by_number(run: Trained) -> torch.Tensor:
    """Mean nats of each latent number over training examples: (size,), float64."""
    objective, _ = _autoencode(run)
    model = run.run.model
    passed = model(beside(model, _data(objective).astype(np.float32)))
    found: torch.Tensor = passed.bottled.kl.flatten(1).double().mean(0)
    return found


def _best(run: Trained) -> LinearVAE:
    """The optimum of a linear network on the training data of the run, at its noise."""
    objective, narrow = _autoencode(run)
    data = _data(objective).reshape(-1, objective.numbers)
    covariance = np.atleast_2d(np.cov(data.T, bias=True))
    if objective.whole:  # training adds a uniform number to each shade
        covariance = covariance + np.eye(len(covariance)) * objective.step**2 / 12
    values = torch.from_numpy(np.linalg.eigvalsh(covariance))
    model: Any = run.run.model
    noise = float(model.noise.log_deviation.exp()) ** 2
    return linear_vae(values, min(narrow.size, len(values)), noise, narrow.beta)


def _data(objective: Autoencode) -> Any:
    """Training data as the network sees them, without what makes shades real."""
    source = objective.source
    data = source.fresh(1, ROWS)[0] if isinstance(source, Points) else source.train[0]
    return (data.astype(np.float64) - objective.centre) / objective.spread


def _autoencode(run: Trained) -> tuple[Autoencode, Gaussian]:
    found = run.experiment.objective
    narrow = getattr(found, "bottleneck", None)
    if not isinstance(run.objective, Autoencode) or not isinstance(narrow, Gaussian):
        raise LabError(
            f"{run.folder} has the objective {found.kind}: this is measured of autoencoders with "
            "objective.bottleneck.kind = gaussian"
        )
    return run.objective, narrow
