"""The queue: many runs side by side, each carried out once, whatever dies in between.

``with Queue() as queue: outcomes = queue.run(jobs)``. No torch here: runs are carried out in other processes
(``danlu.lab.queue.worker`` on this machine, or a task of Ray or Slurm).
"""

from danlu.lab.queue.job import Job, Outcome
from danlu.lab.queue.queue import Interrupted, Queue

__all__ = ["Interrupted", "Job", "Outcome", "Queue"]
