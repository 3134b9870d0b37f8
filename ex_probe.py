"""Probe stored embeddings: train small classifiers on them, choose on validation, report on test.

python ex_probe.py with embeddings.store=STORE datamodule.base_dir=AUDIO_DIR
python ex_probe.py with demo
python ex_probe.py report
python ex_probe.py predict with probe.file=PROBE inference.checkpoint=CHECKPOINT inference.audio=song.mp3
"""

from __future__ import annotations

from experiments.arithmetic import arithmetic
from experiments.configs import catalogue
from experiments.settings import ProbeExperimentSettings
from experiments.tracking import Experiment, RunHandle

ex = Experiment(
    "ex_probe",
    ProbeExperimentSettings,
    catalogue.PROBE,
    alone=["main", "report", "predict"],
    around=arithmetic,
)


@ex.main
def main(settings: ProbeExperimentSettings, run: RunHandle) -> dict[str, float]:
    """Probe one or several embedding stores, and baselines, on one or several tasks."""
    from experiments.probes.experiment import probe

    return probe(settings, run)


@ex.command
def report(settings: ProbeExperimentSettings, run: RunHandle) -> dict[str, float]:
    """Compare the encoders of all sweeps: a leaderboard with intervals, from the database or the runs on disk."""
    from experiments.leaderboard.reporting import report

    return report(settings, run)


@ex.command
def predict(settings: ProbeExperimentSettings, run: RunHandle) -> dict[str, float]:
    """Predict for an audio file or folder (inference.audio): encoder, then the probe in probe.file."""
    from experiments.probes.prediction import predict

    return predict(settings, run)


if __name__ == "__main__":
    ex.run_commandline()
