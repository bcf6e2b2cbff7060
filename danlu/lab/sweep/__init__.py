"""Sweeps: a space of experiments searched by a grid, at random, by Optuna's samplers, by successive halving.

space (words that span dimensions) · trials (which there are, what came of them) · carry (their runs, through
the queue) · search (proposals) · halving (rungs) · axis, analysis, importance (what the table says) · report
(drawn) · run (all of it). No torch here.
"""

from danlu.lab.sweep.run import sweep

__all__ = ["sweep"]
