"""A test kit for parts: ``danlu.testing.check_part("dyt")`` says what holds of a part and what does not.

It looks at the part alone (shapes, types, gradients against finite differences, order, counts), in a small
model (initial weights, state), and in a run of six updates (the same again, the same after a resume).

check (every check, in order) · report (what was found) · place (the small experiment that a part is put into)
· alone · inside (a model) · source (data, objectives, schedules) · running.
"""

from danlu.testing.check import check_part
from danlu.testing.report import Check, Report

__all__ = ["Check", "Report", "check_part"]
