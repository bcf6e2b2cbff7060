"""Optimizers, ordinary ``torch.optim.Optimizer`` classes, and schedules; ``build`` makes those specified."""

from danlu.optim.averages import EMA, SWA, Ensemble, average_outputs
from danlu.optim.base import Choice, Elementwise, Rule
from danlu.optim.build import assign, build, load_state_tensors, state_tensors
from danlu.optim.groups import by_role
from danlu.optim.rules.adafactor import Adafactor
from danlu.optim.rules.adam import Adam, AdamW
from danlu.optim.rules.amos import Amos
from danlu.optim.rules.lamb import LAMB
from danlu.optim.rules.lion import Lion
from danlu.optim.rules.muon import Muon, orthogonalise
from danlu.optim.rules.schedule_free import ScheduleFreeAdamW
from danlu.optim.rules.sgd import SGD
from danlu.optim.rules.soap import SOAP
from danlu.optim.rules.solvers import GIS, IIS, LBFGS, Solver
from danlu.optim.rules.tiger import Tiger
from danlu.optim.schedules import Progress, factor
from danlu.optim.settings import Settings

__all__ = [
    "EMA",
    "GIS",
    "IIS",
    "LAMB",
    "LBFGS",
    "SGD",
    "SOAP",
    "SWA",
    "Adafactor",
    "Adam",
    "AdamW",
    "Amos",
    "Choice",
    "Elementwise",
    "Ensemble",
    "Lion",
    "Muon",
    "Progress",
    "Rule",
    "ScheduleFreeAdamW",
    "Settings",
    "Solver",
    "Tiger",
    "assign",
    "average_outputs",
    "build",
    "by_role",
    "factor",
    "load_state_tensors",
    "orthogonalise",
    "state_tensors",
]
