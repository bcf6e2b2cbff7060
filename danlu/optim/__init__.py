"""Optimizers, ordinary ``torch.optim.Optimizer`` classes, and schedules; ``build`` makes those specified."""

from danlu.optim.build import build, load_state_tensors, state_tensors
from danlu.optim.groups import by_role, role
from danlu.optim.rules.muon import Muon, orthogonalise
from danlu.optim.schedules import factor

__all__ = [
    "Adam",
    "AdamW",
    "Lion",
    "Muon",
    "build",
    "by_role",
    "factor",
    "load_state_tensors",
    "orthogonalise",
    "role",
    "state_tensors",
]
