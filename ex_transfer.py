"""Transfer learning: train MAEST's probe on stored embeddings, and apply it to new audio.

python ex_transfer.py with target_mtt_tl
python ex_transfer.py with embeddings.store=STORE datamodule.base_dir=AUDIO_DIR
python ex_transfer.py predict with target_mtt_tl inference.audio=song.mp3
"""

from __future__ import annotations

from experiments.configs import catalogue
from experiments.tracking import Experiment, RunHandle
from experiments.transfer.settings import TransferSettings

ex = Experiment("ex_transfer", TransferSettings, catalogue.TRANSFER, resumable=["main"], alone=["predict"])


@ex.main
def main(settings: TransferSettings, run: RunHandle) -> dict[str, float]:
    """Train the probe on stored embeddings and judge the best one on the test split."""
    from experiments.transfer.experiment import transfer

    return transfer(settings, run)


@ex.command
def predict(settings: TransferSettings, run: RunHandle) -> dict[str, float]:
    """Answer for an audio file or folder (inference.audio): encoder, then the probe in probe.file."""
    from experiments.probes.prediction import predict

    return predict(settings, run)


if __name__ == "__main__":
    ex.run_commandline()
