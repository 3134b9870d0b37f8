"""Optimisers: which parameters are trained at which rate, how rates change, and LARS."""

from models.optim.lars import LARS
from models.optim.optimizers import Groups, build, exempt, freeze, frozen_to_eval, layers, parameter_groups
from models.optim.schedules import BY_STEP, SCHEDULES, Schedule

__all__ = [
    "BY_STEP",
    "LARS",
    "SCHEDULES",
    "Groups",
    "Schedule",
    "build",
    "exempt",
    "freeze",
    "frozen_to_eval",
    "layers",
    "parameter_groups",
]
