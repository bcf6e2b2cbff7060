"""How far samples are from data, with standard errors. NumPy and SciPy alone."""

from danlu.distances.errors import DistanceError

__all__ = ["DistanceError"]
