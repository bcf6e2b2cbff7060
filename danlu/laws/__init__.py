"""Scaling laws: fit, doubt and plan. numpy and scipy alone; the command line imports it only when asked.

A law is one instance of ``Law``: a formula, its parameters, three functions over batches, a text and a paper.
``fit`` fits any of them to ``Points``; ``LAWS`` holds them by name.

    from danlu.laws import Points, fit, law
    found = fit(law("chinchilla"), Points(n=n, d=d, loss=loss))
    found.theta, found.objective, found.agreeing_starts, found.warnings

**Where things are.** What comes later uses what comes before.

- Laws: ``base``, ``formulas``; ``restrict`` holds, ties and bounds parameters.
- Points: ``table``, ``files``; ``hull`` chooses those on the lower hull.
- Fits: ``solve`` (and ``corners``) descend from many starts at once, ``fit`` says what came of it.
- Doubt of a fit: ``doubt`` (resamples, intervals), ``held_out``, ``profiles`` (what is not identified),
  ``scatter`` (of runs), ``calibration`` (how far extrapolations missed), ``audit``, ``influence``.
- Answers: ``answer`` (a fit with its doubt), ``saved`` (the fit file), ``report`` (the page), ``groups`` and
  ``gains`` (one law over groups of points).
- Questions: ``prediction``, ``plan``, ``approaches`` (the best size for a budget), ``chain`` (a task's
  accuracy), ``design`` (which run next).

**How to add a law.** Write a module in ``formulas`` with three functions and one ``register(Law(…))``, and
add its name to ``formulas/__init__.py``; ``chinchilla.py`` is the pattern.

- ``predict(theta, data)``: theta is (…, parameters) in natural units, with any leading dimensions (starts,
  resamples); data maps names of columns to (points,) arrays; returns (…, points). Take theta apart with
  ``np.moveaxis(theta, -1, 0)`` and give each part a last dimension (``E[..., None]``).
- ``gradient(theta, data)``: (…, parameters, points), row j the derivative to parameter j, in natural units
  whatever the parameter's ``log`` says; the fitter turns it into its own coordinates and takes logarithms
  of the prediction itself where ``space="log"``.
- ``starts(data, target)``: (starts, parameters), some dozens to hundreds; solve what is linear from the data
  (scales, floors) and lay the exponents on a ``grid``.
- ``curvature(theta, data, weight)``, optional: Σᵢ weightᵢ·∂²predictionᵢ; differences of the gradient stand in
  for it, and a fit takes some times longer. ``terms`` has the pieces for A·x^−α.
- Parameters that span powers of ten get ``log=True`` (then positive); floors and exponents get bounds.
- Columns are called as in ``table.COLUMNS``; a new kind of column is added there.
- tests/laws/test_every_law.py checks every registered law: gradient and curvature against differences, exact
  recovery from noiseless points. It draws parameters and columns from the law's entry in tests/laws/cases.py.
"""

from danlu.laws import formulas
from danlu.laws.approaches import Frontier, envelope, isoflop, parametric
from danlu.laws.audit import Audit, audit
from danlu.laws.base import LAWS, Law, Parameter, Published, grid, law, register
from danlu.laws.calibration import Band, Calibration, calibrate
from danlu.laws.chain import Chain, chain
from danlu.laws.design import Design, design
from danlu.laws.doubt import Draws, Interval, bootstrap, jackknife, leverage, resample
from danlu.laws.errors import LawError, Warned
from danlu.laws.files import Column, Read, read
from danlu.laws.fit import Fit, fit, objective, refit, residuals
from danlu.laws.gains import Gain
from danlu.laws.groups import Groups, by_group, grouped
from danlu.laws.held_out import HoldOut, hold_out
from danlu.laws.hull import lower_hull
from danlu.laws.influence import influence
from danlu.laws.plan import Plan, plan
from danlu.laws.prediction import Prediction, predict
from danlu.laws.profiles import Flat, Profile, profile, unidentified
from danlu.laws.restrict import bounded, restrict, tied
from danlu.laws.saved import Saved, load
from danlu.laws.scatter import Scatter, scatter
from danlu.laws.solve import ABSOLUTE, HUBER, SQUARES, Loss, Solution, solve
from danlu.laws.table import COLUMNS, Points, check

__all__ = [
    "ABSOLUTE",
    "COLUMNS",
    "HUBER",
    "LAWS",
    "SQUARES",
    "Audit",
    "Band",
    "Calibration",
    "Chain",
    "Column",
    "Design",
    "Draws",
    "Fit",
    "Flat",
    "Frontier",
    "Gain",
    "Groups",
    "HoldOut",
    "Interval",
    "Law",
    "LawError",
    "Loss",
    "Parameter",
    "Plan",
    "Points",
    "Prediction",
    "Profile",
    "Published",
    "Read",
    "Saved",
    "Scatter",
    "Solution",
    "Warned",
    "audit",
    "bootstrap",
    "bounded",
    "by_group",
    "calibrate",
    "chain",
    "check",
    "design",
    "envelope",
    "fit",
    "formulas",
    "grid",
    "grouped",
    "hold_out",
    "influence",
    "isoflop",
    "jackknife",
    "law",
    "leverage",
    "load",
    "lower_hull",
    "objective",
    "parametric",
    "plan",
    "predict",
    "profile",
    "read",
    "refit",
    "register",
    "resample",
    "residuals",
    "restrict",
    "scatter",
    "solve",
    "tied",
    "unidentified",
]
