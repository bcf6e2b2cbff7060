"""Conditional models of maximum entropy with features by name. NumPy and SciPy alone.

    from danlu.maxent import compare, fit, linear, of_labels
    problem = of_labels(linear(x, classes=range(10)), labels, smooth=0.01)
    found = fit(problem)                      # or "gis", "iis"
    found.model.predict(linear(new, classes=range(10)))
    print(compare(problem))                   # passes over the data to each gap

``sets`` makes features, ``problem`` turns counts or moments into constraints, ``fit`` fits by one of three
methods (``scaling``, ``lbfgs``) and keeps its course, ``separable`` says where there is no optimum,
``duality`` compares entropy and likelihood, ``model`` predicts, is scored and kept.
"""

from danlu.maxent.duality import Duality, divergence, duality, entropy
from danlu.maxent.errors import MaxentError
from danlu.maxent.features import Features, Pairs, Product, log_probabilities
from danlu.maxent.fit import GAPS, METHODS, Course, Fit, Passes, compare, fit
from danlu.maxent.model import Model, Score, read
from danlu.maxent.problem import Look, Problem, of_counts, of_labels, of_moments
from danlu.maxent.scaling import Levels, change, levels_of
from danlu.maxent.separable import direction
from danlu.maxent.sets import (
    by_hand,
    contexts,
    gaussian_moments,
    gaussian_weights,
    indicators,
    linear,
    powers,
)

__all__ = [
    "GAPS", "METHODS", "Course", "Duality", "Features", "Fit", "Levels", "Look", "MaxentError", "Model",
    "Pairs", "Passes", "Problem", "Product", "Score", "by_hand", "change", "compare", "contexts", "direction",
    "divergence", "duality", "entropy", "fit", "gaussian_moments", "gaussian_weights", "indicators",
    "levels_of", "linear", "log_probabilities", "of_counts", "of_labels", "of_moments", "powers", "read",
]  # fmt: skip
