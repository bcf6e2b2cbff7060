"""Optimizers, ordinary ``torch.optim.Optimizer`` classes, and schedules; ``build`` makes those specified."""

from danlu.optim.build import build, load_state_tensors, state_tensors
from danlu.optim.groups import by_role, role
from danlu.optim.rules.adam import Adam, AdamW
from danlu.optim.rules.lion import Lion
from danlu.optim.rules.muon import Muon, orthogonalise
from danlu.optim.schedules import Moment, factor
from danlu.optim.settings import Settings

__all__ = [
    "Adam",
    "AdamW",
    "Lion",
    "Moment",
    "Muon",
    "Settings",
    "build",
    "by_role",
    "factor",
    "load_state_tensors",
    "orthogonalise",
    "role",
    "state_tensors",
]
