"""Learn a representation of music audio: pre-train, test, extract embeddings or logits, predict.

python ex_pretrain.py print_named_configs
python ex_pretrain.py with maest_10s_random_weights_pretrain demo
python ex_pretrain.py extract_embeddings with inference.checkpoint=CHECKPOINT datamodule.base_dir=AUDIO_DIR
python ex_pretrain.py predict with inference.checkpoint=CHECKPOINT inference.audio=song.mp3
python ex_pretrain.py export with inference.checkpoint=CHECKPOINT export.format=onnx
"""

from __future__ import annotations

from experiments.arithmetic import arithmetic
from experiments.configs import catalogue
from experiments.settings import PretrainSettings
from experiments.tracking import Experiment, RunHandle

ex = Experiment(
    "ex_pretrain",
    PretrainSettings,
    catalogue.PRETRAIN,
    resumable=["main"],
    alone=["predict", "export"],
    aliases={"evaluate": "test"},
    around=arithmetic,
    examples=[
        "with maest_10s_random_weights_pretrain demo",
        "with maest_10s_from_passt_pretrain datamodule.base_dir=AUDIO_DIR",
    ],
)


@ex.main
def main(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Train a network on labelled music and evaluate its best checkpoint."""
    from experiments.training.pretraining import pretrain

    return pretrain(settings, run)


@ex.command
def test(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Evaluate a trained network (inference.checkpoint) on the test split, and on changed audio (robustness)."""
    if settings.robustness.perturbations is not None:
        from experiments.robustness.evaluation import evaluate

        return evaluate(settings, run)
    from experiments.training.pretraining import test

    return test(settings, run)


@ex.command
def describe(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Report on a corpus: labels, splits, lengths, leaks and duplicates, what to normalise with."""
    from experiments.tracks.description import describe

    return describe(settings, run)


@ex.command
def extract_embeddings(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Store the tokens of one or several layers for every track."""
    from experiments.inference.inference import extract_embeddings

    return extract_embeddings(settings, run)


@ex.command
def extract_logits(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Store the logits of every window of every track."""
    from experiments.inference.inference import extract_logits

    return extract_logits(settings, run)


@ex.command
def predict(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Rank the classes of an audio file or folder (inference.audio), per track and over time."""
    from experiments.inference.prediction import predict

    return predict(settings, run)


@ex.command
def export(settings: PretrainSettings, run: RunHandle) -> dict[str, float]:
    """Write a trained network (inference.checkpoint) for other programs: export.format=onnx, safetensors, ..."""
    from experiments.export.exporting import export

    return export(settings, run)


if __name__ == "__main__":
    ex.run_commandline()
