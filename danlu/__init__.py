"""danlu (丹炉): a laboratory for training neural networks."""

import time

__version__ = "0.3.0"

STARTED = time.perf_counter()  # when this process began to be danlu: start-up is counted from here
