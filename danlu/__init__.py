"""danlu (丹炉): a laboratory for training neural networks."""

__version__ = "0.1.0"
