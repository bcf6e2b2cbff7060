"""Tasks: what turns a batch into a loss and metrics."""

from danlu.tasks.language import bits_per_byte, loss_sum

__all__ = ["bits_per_byte", "loss_sum"]
