"""Solve a task: train a network from audio, or a probe on stored embeddings, and apply it to new audio.

python ex_transfer.py with mine model.network=my_package.my_module:MyNetwork datamodule.base_dir=AUDIO_DIR
python ex_transfer.py with finetune model.checkpoint=CHECKPOINT datamodule.task=genre datamodule.base_dir=AUDIO_DIR
python ex_transfer.py with clmr_linear_mtt model.checkpoint=CHECKPOINT
python ex_transfer.py with target_mtt_tl
python ex_transfer.py with embeddings.store=STORE datamodule.base_dir=AUDIO_DIR
python ex_transfer.py evaluate with inference.checkpoint=CHECKPOINT datamodule.base_dir=AUDIO_DIR
python ex_transfer.py evaluate with inference.checkpoint=CHECKPOINT robustness.perturbations=all
python ex_transfer.py describe with target_gtzan_tempo
python ex_transfer.py predict with inference.checkpoint=CHECKPOINT inference.audio=song.mp3
python ex_transfer.py predict with target_mtt_tl inference.audio=song.mp3
python ex_transfer.py serve with inference.checkpoint=CHECKPOINT
"""

from __future__ import annotations

from experiments.arithmetic import arithmetic
from experiments.configs import catalogue
from experiments.errors import UserError
from experiments.tracking import Experiment, RunHandle
from experiments.transfer.settings import TransferSettings

ex = Experiment(
    "ex_transfer",
    TransferSettings,
    catalogue.TRANSFER,
    resumable=["main"],
    alone=["predict", "export", "serve"],
    aliases={"test": "evaluate"},
    around=arithmetic,
)


@ex.main
def main(settings: TransferSettings, run: RunHandle) -> dict[str, float]:
    """Train the network in model.network from audio, or else a probe on stored embeddings; evaluate the best one."""
    if settings.model.network is None:
        from experiments.transfer.experiment import transfer

        return transfer(settings, run)
    if settings.module.encode is not None:
        from experiments.transfer.frozen import train_head

        return train_head(settings.as_pretraining(), settings.module.encode, run)
    from experiments.training.pretraining import pretrain

    return pretrain(settings.as_pretraining(), run)


@ex.command
def evaluate(settings: TransferSettings, run: RunHandle) -> dict[str, float]:
    """Evaluate a trained network (inference.checkpoint) on the test split, and on changed audio (robustness)."""
    if settings.robustness.perturbations is not None:
        from experiments.robustness.evaluation import evaluate

        return evaluate(settings.as_pretraining(), run)
    from experiments.training.pretraining import test

    return test(settings.as_pretraining(), run)


@ex.command
def describe(settings: TransferSettings, run: RunHandle) -> dict[str, float]:
    """Report on a corpus: faulty files, tempi by genre, metres; of one without tempo or beats, as ex_pretrain does."""
    from experiments.tracks.rhythm_description import describe

    return describe(settings.as_pretraining(), run)


@ex.command
def predict(settings: TransferSettings, run: RunHandle) -> dict[str, float]:
    """Apply a trained network (inference.checkpoint), or the probe in probe.file, to audio (inference.audio)."""
    if settings.probe.file is not None:
        from experiments.probes.prediction import predict

        return predict(settings, run)
    if settings.inference.checkpoint is None and settings.model.pretrained is None:
        raise UserError(
            "no trained network is named: give one, inference.checkpoint=FILE or a run's folder; or a probe, "
            "probe.file=FILE (probe_*.safetensors in the folder of its run)"
        )
    from experiments.inference.prediction import predict

    return predict(settings.as_pretraining(), run)


@ex.command
def export(settings: TransferSettings, run: RunHandle) -> dict[str, float]:
    """Write a trained network (inference.checkpoint) for other programs: export.format=onnx, safetensors, ..."""
    from experiments.export.exporting import export

    return export(settings.as_pretraining(), run)


@ex.command
def serve(settings: TransferSettings, run: RunHandle) -> dict[str, float]:
    """Answer over HTTP with trained networks and probes (service.models), and show a page to listen by."""
    from experiments.service.serving import serve

    return serve(settings, run)


if __name__ == "__main__":
    ex.run_commandline()
