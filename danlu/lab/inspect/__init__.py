"""What is inside of trained networks: the statistics of ``danlu.inspection`` of whole folders.

look (a folder, or each of a run's checkpoints → statistics by layer) · maps (layer × statistic, layer × step)
· report (a page) · words (a terminal's tables).
"""

from danlu.lab.inspect.look import Inspection, Reads, inspect, over_checkpoints
from danlu.lab.inspect.report import report

__all__ = ["Inspection", "Reads", "inspect", "over_checkpoints", "report"]
