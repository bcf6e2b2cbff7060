"""What compute buys the baseline: how its loss falls with ln compute, from its losses at the rungs alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

STRAIGHT = 1e-9  # |α| below which a curve is a line


class Curve(NamedTuple):
    """Of each rung (…, k): the elasticity e = −∂loss/∂x at x = ln compute, and α = −∂ln e/∂x, how it
    falls."""

    e: Array
    alpha: Array


def curve(x: Array, loss: Array) -> Curve:
    """The curve of losses (…, k) at x (k,), ascending, by differences of neighbouring rungs, which know no
    floor. Of a power law E + A·C^−α the logarithm of e is a line in x whatever E is, so the two slopes
    nearest to a rung give both e and α there: exactly where steps are equal. From two rungs there is one
    slope, and α = 0. nan where the loss does not fall between those rungs."""
    import numpy as np

    slope = -np.diff(loss) / np.diff(x)
    log_slope = np.log(np.where(slope > 0, slope, np.nan))
    share = shares(x)
    log_e = np.where(share == 0, 0, share * log_slope[..., None, :]).sum(-1)
    if len(x) == 2:
        return Curve(np.exp(log_e), np.zeros_like(log_e))
    middle, first = _middle(x), _first(x)
    alpha = (log_slope[..., first] - log_slope[..., first + 1]) / (middle[first + 1] - middle[first])
    # The slope over a step h is the elasticity at its middle times sinh(u)/u, u = αh/2.
    u = alpha * np.diff(x)[first] / 2
    small = np.abs(u) < 1e-4
    excess = np.where(small, 1 + u**2 / 6, np.sinh(u) / np.where(small, 1, u))
    return Curve(np.exp(log_e) / excess, alpha)


def shares(x: Array) -> Array:
    """(k, k − 1): how much the logarithm of each slope counts at each rung."""
    import numpy as np

    k = len(x)
    if k == 2:
        return np.ones((2, 1))
    middle, first, rung = _middle(x), _first(x), np.arange(k)
    found = np.zeros((k, k - 1))
    found[rung, first + 1] = (x - middle[first]) / (middle[first + 1] - middle[first])
    found[rung, first] = 1 - found[rung, first + 1]
    return found


def sensitivity(x: Array, loss: Array) -> Array:
    """(k, k): ∂ln e/∂loss of each rung by the loss of each, of ``loss`` (k,); the curve's α taken as
    known."""
    import numpy as np

    share = shares(x)
    by_slope = np.where(share == 0, 0, share / -np.diff(loss))
    found = np.zeros((len(x), len(x)))
    found[:, :-1] += by_slope
    found[:, 1:] -= by_slope
    return found


def equivalent(x: Array, at: Curve, difference: Array) -> tuple[Array, Array, Array]:
    """The y at which the baseline at x + y is as good as its loss at x plus ``difference``; whether that lies
    beyond the largest rung; whether below the smallest. All (…, k).

    On the curve, y = −ln(1 + α d/e)/α. Beyond the largest rung and half a step, where nothing is known, the
    tangent stands in, y = −d/e: less than the curve of a loss that flattens says, so it is a lower bound.
    """
    import numpy as np

    tangent = -difference / at.e
    straight = np.abs(at.alpha) < STRAIGHT
    bent = -np.log1p(-at.alpha * tangent) / np.where(straight, 1, at.alpha)
    y = np.where(straight, tangent, bent)
    above = (at.alpha * tangent >= 1) | (x + y > x[-1] + (x[-1] - x[-2]) / 2)
    return np.where(above, tangent, y), above, x + y < x[0] - (x[1] - x[0]) / 2


def _middle(x: Array) -> Array:
    return (x[1:] + x[:-1]) / 2


def _first(x: Array) -> Array:
    """The first of the two slopes nearest to each of three rungs or more."""
    import numpy as np

    return np.clip(np.arange(len(x)) - 1, 0, len(x) - 3)
