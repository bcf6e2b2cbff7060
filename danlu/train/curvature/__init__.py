"""How curved the loss of a run is at one of its checkpoints: ``danlu curvature``.

loss (the run's loss as a function of its weights) · measured (all numbers) · stability (its curvature beside
its rates) · page (the numbers as HTML).
"""

from danlu.train.curvature.loss import Curved
from danlu.train.curvature.measured import measure, sparsity
from danlu.train.curvature.stability import edge

__all__ = ["Curved", "edge", "measure", "sparsity"]
