"""What depth does to a network at its start, for ideas beside each other: ``danlu depth``.

compared (one update at each number of layers) · page (the same as HTML).
"""

from danlu.lab.depths.compared import Arm, depths, numbers, slopes, table

__all__ = ["Arm", "depths", "numbers", "slopes", "table"]
