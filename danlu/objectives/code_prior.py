"""Which codes go together: a mixture of products, fitted to a table of codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.data import Counter

Codes = NDArray[np.int64]
_ROUNDS, _STREAM = 40, 0x636F6465  # "code"
_SMOOTHING = 0.02  # of a count that every code in use has beside those seen, per place and component


class CodePrior:
    """p(c) = Σ_m w_m ∏_i p_mi(c_i) over the ``places`` of a table of ``codes`` [rows, places] (latent class
    analysis, Goodman 1974), by expectation maximisation from ``components`` of its rows, drawn by a fixed
    key; no more than there are rows.

    Codes that never occur in the table have probability 0.
    """

    def __init__(self, codes: Codes, components: int) -> None:
        from scipy.sparse import csr_matrix

        rows, places = codes.shape
        self.known, flat = np.unique(codes, return_inverse=True)
        kinds, components = len(self.known), min(components, rows)
        columns = flat.reshape(rows, places) + kinds * np.arange(places)
        ones = np.ones(rows * places)
        seen: Any = csr_matrix(
            (ones, columns.ravel(), np.arange(0, rows * places + 1, places)), (rows, places * kinds)
        )
        order = np.argsort(Counter(0, 0, _STREAM).uniform(0, rows, 1)[:, 0], kind="stable")
        nearest = seen @ seen[order[:components]].T  # places in which a row is as a starting row
        share = _share(nearest.toarray() * 2.0)
        for _ in range(_ROUNDS):
            self.weights = share.mean(0)
            counts = (seen.T @ share).T.reshape(-1, places, kinds) + _SMOOTHING
            self.tables = counts / counts.sum(-1, keepdims=True)
            table = np.log(self.tables).reshape(len(self.weights), -1)
            share = _share(seen @ table.T + np.log(self.weights + 1e-300))

    def draw(self, uniform: NDArray[np.float64]) -> Codes:
        """Codes [count, places] of ``uniform`` numbers [count, 1 + places] in [0, 1)."""
        component = _pick(np.broadcast_to(self.weights, (len(uniform), len(self.weights))), uniform[:, 0])
        return self.known[_pick(self.tables[component], uniform[:, 1:])]


def _share(log_weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The softmax of each row."""
    shares = np.exp(log_weights - log_weights.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True))


def _pick(probabilities: NDArray[np.float64], uniform: NDArray[np.float64]) -> Codes:
    """Categories of the last dimension by the inverse of their distribution function."""
    edges = np.cumsum(probabilities, -1)
    found = (uniform[..., None] * edges[..., -1:] >= edges).sum(-1)
    return np.minimum(found, probabilities.shape[-1] - 1)
