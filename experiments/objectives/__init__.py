"""Objectives: what a network is trained for, apart from how. One file each; see `base.Objective`."""

from experiments.objectives.base import Evaluation, Objective
from experiments.objectives.contrastive import Contrastive
from experiments.objectives.distillation import Distillation
from experiments.objectives.supervised import Supervised

__all__ = ["Contrastive", "Distillation", "Evaluation", "Objective", "Supervised"]
