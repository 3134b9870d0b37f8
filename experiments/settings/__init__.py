"""The typed settings of the experiments: what a key may be, its default, its unit.

Sacred resolves a command line once; the result is parsed into one of these and plain typed values are passed down.
Names are those of the MAEST experiments where both have the setting.
"""

from experiments.settings.base import Count, Positive, Section, Share
from experiments.settings.data import DatamoduleSettings, MaskingSettings, NormSettings, RollSettings
from experiments.settings.inference import ExportSettings, InferenceSettings, PredictionSettings
from experiments.settings.model import ModelSettings
from experiments.settings.pretraining import PretrainSettings
from experiments.settings.probes import (
    ROWS,
    EmbeddingsSettings,
    ProbeExperimentSettings,
    ProbeSettings,
    ReportSettings,
)
from experiments.settings.rhythm import RhythmSettings
from experiments.settings.robustness import RobustnessSettings
from experiments.settings.service import ServiceSettings
from experiments.settings.training import (
    ContrastiveSettings,
    DistillationSettings,
    ModuleSettings,
    OptimizerSettings,
    TrainerSettings,
)

__all__ = [
    "ROWS",
    "ContrastiveSettings",
    "Count",
    "DatamoduleSettings",
    "DistillationSettings",
    "EmbeddingsSettings",
    "ExportSettings",
    "InferenceSettings",
    "MaskingSettings",
    "ModelSettings",
    "ModuleSettings",
    "NormSettings",
    "OptimizerSettings",
    "Positive",
    "PredictionSettings",
    "PretrainSettings",
    "ProbeExperimentSettings",
    "ProbeSettings",
    "ReportSettings",
    "RhythmSettings",
    "RobustnessSettings",
    "RollSettings",
    "Section",
    "ServiceSettings",
    "Share",
    "TrainerSettings",
]
