"""Optimizers and schedules: ``Muon`` is an ordinary optimizer; ``build`` makes what a specification names."""

from danlu.optim.build import build, load_state_tensors, state_tensors
from danlu.optim.groups import by_role, role
from danlu.optim.muon import Muon, orthogonalise
from danlu.optim.schedules import factor

__all__ = ["Muon", "build", "by_role", "factor", "load_state_tensors", "orthogonalise", "role", "state_tensors"]
