"""How far samples are from data, with standard errors. NumPy and SciPy alone.

    from danlu.distances import directions, energy, frechet, sliced, wasserstein
    print(energy(samples, data))     # energy distance 0.0036 ± 0.002 (Hoeffding's decomposition; …)

Samples are arrays (rows, dimensions). ``pairs`` has the measures without bias, ``transport`` W₂ in three
ways, ``frechet`` the distance of features, ``psnr`` that of pictures, ``neighbours`` the test of memory,
``strata`` makes counts of modes equal, ``result`` has the errors and what data are from themselves,
``digits`` the features of a fixed network for 8×8 digits.
"""

from danlu.distances.errors import DistanceError
from danlu.distances.frechet import frechet, gaussians
from danlu.distances.neighbours import Memory, memory, nearest
from danlu.distances.pairs import BANDWIDTHS, energy, mmd
from danlu.distances.psnr import psnr
from danlu.distances.result import Distance, between_halves, halves
from danlu.distances.strata import Strata, modes_of, stratify
from danlu.distances.transport import directions, sliced, wasserstein, wasserstein_line

__all__ = [
    "BANDWIDTHS", "Distance", "DistanceError", "Memory", "Strata", "between_halves", "directions", "energy",
    "frechet", "gaussians", "halves", "memory", "mmd", "modes_of", "nearest", "psnr", "sliced", "stratify",
    "wasserstein", "wasserstein_line",
]  # fmt: skip
