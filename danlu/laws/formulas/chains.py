"""From one loss to the next: other distributions, task error and accuracy, exact match."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from danlu.laws.base import Array, Data, Law, Parameter, grid, register


def predict_transfer(theta: Array, data: Data) -> Array:
    return data["loss"] + theta[..., 0, None]


def gradient_transfer(theta: Array, data: Data) -> Array:
    return np.ones((*theta.shape, len(data["loss"])))


def curvature_transfer(theta: Array, data: Data, weight: Array) -> Array:
    return np.zeros((*theta.shape, 1))


def starts_transfer(data: Data, target: Array) -> Array:
    return np.quantile(target - data["loss"], [0.5, 0.1, 0.9])[:, None]


TRANSFER = register(
    Law(
        name="transfer",
        title="Transfer: loss on another distribution",
        formula="L_other = L + c",
        text="Loss on another distribution improves in step with that on the training distribution, at a "
        "constant offset.",
        paper="Kaplan et al. 2020, arXiv:2001.08361, section 3.2.2",
        columns=("loss",),
        target="loss_other",
        space="linear",
        parameters=(Parameter("c", "offset", "nats/token"),),
        predict=predict_transfer,
        gradient=gradient_transfer,
        curvature=curvature_transfer,
        starts=starts_transfer,
    )
)


def predict_error(theta: Array, data: Data) -> Array:
    top, k, gamma = np.moveaxis(theta, -1, 0)[..., None]
    return top - k * np.exp(-gamma * data["loss"])


def gradient_error(theta: Array, data: Data) -> Array:
    _, k, gamma = np.moveaxis(theta, -1, 0)[..., None]
    fall = np.exp(-gamma * data["loss"])
    return np.stack([np.ones_like(fall), -fall, k * data["loss"] * fall], axis=-2)


def starts_error(data: Data, target: Array) -> Array:
    """Rates on a grid; the two others by a straight line in e^(−γ·L)."""
    gamma = np.array([0.1, 0.3, 0.6, 1.0, 1.6, 2.5, 4.0])
    fall = np.exp(-gamma[:, None] * data["loss"])
    centred = fall - fall.mean(-1, keepdims=True)
    k = np.maximum(-(centred @ target) / np.sum(centred**2, axis=-1), 1e-3)
    return np.stack([target.mean() + k * fall.mean(-1), k, gamma], axis=-1)


TASK_ERROR = register(
    Law(
        name="task-error",
        title="Task error of the loss",
        formula="Err(L) = ε − k·e^(−γ·L)",
        text="The mean error over tasks falls from that of chance as the loss falls.",
        paper="Gadre et al. 2024, arXiv:2403.08540, equation 5",
        columns=("loss",),
        target="error",
        space="linear",
        parameters=(
            Parameter("ε", "error of a model that knows nothing", low=0, high=2),
            Parameter("k", "scale of what it learns", log=True),
            Parameter("γ", "how fast error follows loss", "1/nat", low=0, high=50),
        ),
        predict=predict_error,
        gradient=gradient_error,
        starts=starts_error,
        distinct={"loss": 3},
    )
)


def _sigmoid(theta: Array, x: Array) -> tuple[Array, Array]:
    _, k, x0, _ = np.moveaxis(theta, -1, 0)[..., None]
    return 0.5 * (1 + np.tanh(0.5 * k * (x - x0))), x - x0


def _climb(x: Callable[[Data], Array], sign: float) -> dict[str, Any]:
    """The functions of a law a/(1 + e^(−k·(x − x₀))) + b of one quantity, so that the logit of the share of
    the climb is linear in it; ``sign``: that of k."""

    def predict(theta: Array, data: Data) -> Array:
        return theta[..., 0, None] * _sigmoid(theta, x(data))[0] + theta[..., 3, None]

    def gradient(theta: Array, data: Data) -> Array:
        a, k, _, _ = np.moveaxis(theta, -1, 0)[..., None]
        s, beyond = _sigmoid(theta, x(data))
        slope = a * s * (1 - s)
        return np.stack([s, slope * beyond, -slope * k, np.ones_like(s)], axis=-2)

    def starts(data: Data, target: Array) -> Array:
        """Steepness and middle on a grid; height and floor of the range of the points or beyond."""
        along = sign * x(data)
        spread = np.ptp(along)
        middles = sign * np.linspace(along.min(), along.max() + 0.5 * spread, 7)
        made = grid((1.0, 1.5, 3.0), sign * np.array([2.0, 5.0, 15.0]) / spread, middles, (0.0, 1.0))
        a, b = made[:, 0] * np.ptp(target), made[:, 3] * target.min()
        return np.stack([a, made[:, 1], made[:, 2], b], axis=-1)

    return {"predict": predict, "gradient": gradient, "starts": starts}


ACCURACY = register(
    Law(
        name="task-accuracy",
        title="Task accuracy of the task's loss",
        formula="accuracy = a/(1 + e^(−k·(L − L₀))) + b",
        text="Accuracy climbs from chance to its ceiling as the loss on the answers falls past L₀ (k < 0).",
        paper="Bhagia et al. 2024 (OLMo ladder), arXiv:2412.04403, equation 3",
        columns=("loss",),
        target="accuracy",
        space="linear",
        parameters=(
            Parameter("a", "height from chance to the ceiling", low=0, high=2),
            Parameter("k", "steepness", "1/nat", low=-1e3, high=0),
            Parameter("L₀", "loss half-way up", "nats"),
            Parameter("b", "accuracy of chance", low=0, high=1),
        ),
        distinct={"loss": 4},
        **_climb(lambda data: data["loss"], -1.0),
    )
)

TASK_COMPUTE = register(
    Law(
        name="task-compute",
        title="Task accuracy of compute",
        formula="accuracy = a/(1 + e^(−k·(log₁₀ C − c₀))) + b",
        text="Accuracy climbs from chance to its ceiling as compute grows past 10^c₀, in one family of "
        "models. With a loss at hand danlu laws chain says more.",
        paper="Ruan et al. 2024, arXiv:2405.10938, section 3",
        columns=("c",),
        target="accuracy",
        space="linear",
        parameters=(
            Parameter("a", "height from chance to the ceiling", low=0, high=2),
            Parameter("k", "steepness", "1/decade", low=0, high=1e3),
            Parameter("c₀", "log₁₀ of the compute half-way up", "", low=0, high=60),
            Parameter("b", "accuracy of chance", low=0, high=1),
        ),
        distinct={"c": 4},
        **_climb(lambda data: np.log10(data["c"]), 1.0),
    )
)


def exact_match(loss: Array | float, tokens: Array | float) -> Array:
    """The share of answers of so many tokens with every token right, p^T with p = e^−L per token.

    A sharp rise of it follows from a smooth loss (Schaeffer et al. 2023, arXiv:2304.15004, equation 3).
    """
    return np.exp(-np.asarray(loss) * tokens)


def edit_distance(loss: Array | float, tokens: Array | float) -> Array:
    """Tokens wrong among so many, T·(1 − e^−L): smooth where ``exact_match`` seems to jump (equation 4)."""
    return -np.asarray(tokens) * np.expm1(-np.asarray(loss))
