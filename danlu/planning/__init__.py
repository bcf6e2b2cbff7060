"""What training takes on many devices, told by arithmetic (no torch): memory, traffic, time, the best mesh.

demand (what a model asks for, as it was counted) · layout (who holds what) · memory · traffic (bytes of
collectives, seconds on a link) · roofline (seconds of the network's own work) · step (seconds of an update) ·
best (all meshes of so many devices, and why others do not fit) · rounds (workers on slow links, simulated).
``danlu.train.demand`` counts a demand from an experiment; ``danlu.spec.devices`` has the devices.

Everything here is an estimate, and says what of. Nothing is measured.
"""

from danlu.planning.best import Tried, best, layouts
from danlu.planning.demand import Demand
from danlu.planning.layout import Layout
from danlu.planning.memory import Memory, memory
from danlu.planning.rounds import Rounds, simulate
from danlu.planning.step import Step, step

__all__ = [
    "Demand",
    "Layout",
    "Memory",
    "Rounds",
    "Step",
    "Tried",
    "best",
    "layouts",
    "memory",
    "simulate",
    "step",
]
