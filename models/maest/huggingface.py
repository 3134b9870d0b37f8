"""MAEST in the layout of Hugging Face's Audio Spectrogram Transformer, read and written.

`transformers.ASTForAudioClassification` is the same network with other names, one combined positional table and one
epsilon for all norms. Three things of ours it does not know: a head of its own for DIST, patches that are always
dropped, and the log-mel front end; `write_huggingface` says so where it matters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from models.descriptions import LARGEST, check_metadata, read_json
from models.errors import CheckpointError
from models.files import replaced
from models.frontends.musicnn import FFT_SIZE, HOP, MEAN, SAMPLE_RATE, STD
from models.layouts import State, Weights, read_weights, write_safetensors
from models.maest import MAEST, PATCH, grid_size
from models.maest.ast_layout import BODY, POSITIONS, has_layout, ours, theirs

MODEL_TYPE = "audio-spectrogram-transformer"
EXTRACTOR = "MAESTFeatureExtractor"  # of the published weights; not part of transformers, so that no other is taken
CONFIG, EXTRACTOR_FILE, WEIGHTS = "config.json", "preprocessor_config.json", "model.safetensors"
WEIGHT_FILES = (WEIGHTS, "pytorch_model.bin")
PROBLEMS = {  # what transformers calls a task of ours; tags otherwise
    **dict.fromkeys(("genre", "key", "tempo", "tempo_any_octave"), "single_label_classification"),
    **dict.fromkeys(("emotion", "tempo_regression"), "regression"),
}
_HIDDEN, _CLASSES = "encoder.layer.0.intermediate.dense.weight", "classifier.dense.weight"
OURS = "ostinato"  # key of our metadata in config.json
_DEFAULTS = {  # of ASTConfig, for what a configuration leaves out
    "patch_size": PATCH,
    "num_mel_bins": 128,
    "frequency_stride": 10,
    "time_stride": 10,
    "max_length": 1024,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "qkv_bias": True,
}
_PUBLISHED = {**_DEFAULTS, "num_mel_bins": 96, "max_length": None, "layer_norm_eps": 1e-6}  # of MAEST: weights alone


def is_folder(path: str | Path) -> bool:
    """Whether this is a folder with weights as `save_pretrained` leaves them."""
    return any((Path(path) / name).is_file() for name in WEIGHT_FILES)


def read_huggingface(path: str | Path, exact: bool = True) -> Weights:
    """Weights, arguments and labels of an AST.

    Args:
        path: A folder with `config.json` and `model.safetensors` (or `pytorch_model.bin`), or the file of weights
            alone, for which 96 bands and stride 10 are taken for granted unless a `config.json` lies beside it.
        exact: Refuse a positional table that is no sum of a table over frequency and one over time. Otherwise it is
            split by least squares and `notes` says what is lost.

    Returns:
        Tensors under our names, without `head_dist` (and without `head` where there is no classifier). Its header
        holds `network` (arguments of `MAEST`), and where the folder tells them `labels`, `normalisation` and what
        `write_huggingface` was given.

    Raises:
        CheckpointError: If the folder is not a whole AST, or one that `MAEST` cannot express.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    if config.get("model_type", MODEL_TYPE) != MODEL_TYPE:
        if path.is_dir():
            raise CheckpointError(
                f"{path} holds a model of type {config['model_type']!r:.60}, expected {MODEL_TYPE!r}: "
                f"only the Audio Spectrogram Transformer has the shape of MAEST"
            )
        config = {}
    state = read_weights(_weights_file(path) if path.is_dir() else path).state
    if not has_layout(state):
        raise CheckpointError(f"{path} has no {BODY}{POSITIONS}: expected the weights of an AST as transformers saves")
    settings = _settings(state, config, path)
    rows = grid_size(settings["n_bands"], settings["stride_f"])
    renamed, notes = ours(state, rows, settings["time_positions"], str(path), exact)
    classifier = "head.1.weight" in renamed
    header = {**_metadata(config, folder, settings["n_classes"] if classifier else 0), "network": settings}
    absent = ("head_dist.",) if classifier else ("head.", "head_dist.")
    return Weights(renamed, "Hugging Face AST", header, notes, absent)


def write_huggingface(
    folder: str | Path, network: MAEST, labels: Sequence[str], metadata: Mapping[str, Any]
) -> list[str]:
    """Writes a folder that `transformers.ASTForAudioClassification.from_pretrained` opens.

    Its input is `[B, max_length, n_bands]` of our normalised log-mel. Each file is replaced in one step, the
    configuration last.

    Args:
        folder: Made if need be.
        network: Its float32 weights are written; left as it is.
        labels: Names of the outputs, or none.
        metadata: What else belongs to it (`task`, `frontend`, `normalisation`, `licence`, ...); plain JSON values,
            kept in `config.json` under our name.

    Returns:
        What the copy does not hold or does otherwise, a sentence each.

    Raises:
        CheckpointError: If AST cannot express the network.
    """
    folder, metadata = Path(folder), {key: value for key, value in metadata.items() if key != "labels"}
    _check_expressible(network, labels)
    mean, std = metadata.get("normalisation", (MEAN, STD))
    config = _config(network, labels, metadata)
    extractor = {
        "feature_extractor_type": EXTRACTOR,
        "sampling_rate": SAMPLE_RATE,
        "n_fft": FFT_SIZE,
        "hop_length": HOP,
        "num_mel_bins": network.n_bands,
        "log_compression": "log10(1 + 10000 mel)",
        "do_normalize": True,
        "mean": mean,
        "std": std,
        "max_length": config["max_length"],
    }
    notes = _differences(network)
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: tensor.float() for key, tensor in theirs(network).items()}
    write_safetensors(folder / WEIGHTS, state, {"format": "pt"})
    for name, content in ((EXTRACTOR_FILE, extractor), (CONFIG, config)):
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        with replaced(folder / name) as aside:
            aside.write_text(text, encoding="utf-8")
    return notes


def read_labels(config: Mapping[str, Any]) -> list[str] | None:
    """Names of the classes in a `config.json`, by number; None where it gives none or placeholders."""
    names = config.get("id2label")
    if not isinstance(names, Mapping) or set(map(str, names)) != set(map(str, range(len(names)))):
        return None
    ordered = [str(name) for _, name in sorted(names.items(), key=lambda item: int(item[0]))]
    return None if all(re.fullmatch(r"LABEL_\d+", name) for name in ordered) else ordered


def _settings(state: State, config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Arguments of `MAEST`: the configuration's, else those the shapes tell."""
    tensors = {key.removeprefix(BODY): tensor for key, tensor in state.items()}
    values = {**_DEFAULTS, **config} if config else _PUBLISHED
    _check_config(values, path)
    positions, hidden = tensors[POSITIONS], tensors.get(_HIDDEN)
    if positions.ndim != 3 or 0 in positions.shape:
        raise CheckpointError(
            f"{path}: {POSITIONS} has the shape {list(positions.shape)}, expected [1, 2 + patches, dim]"
        )
    for key in (_HIDDEN, _CLASSES):
        if key in tensors and (tensors[key].ndim != 2 or 0 in tensors[key].shape):
            raise CheckpointError(f"{path}: {key} has the shape {list(tensors[key].shape)}, expected two axes")
    dim = positions.shape[-1]
    layers = {key.split(".")[2] for key in tensors if key.startswith("encoder.layer.")}
    rows = grid_size(values["num_mel_bins"], values["frequency_stride"])
    columns = (positions.shape[1] - 2) // rows
    frames = values["max_length"] or PATCH + (columns - 1) * values["time_stride"]
    classes = tensors.get(_CLASSES)
    return {
        "n_classes": 1 if classes is None else classes.shape[0],
        "n_bands": values["num_mel_bins"],
        "n_frames": frames,
        "stride_f": values["frequency_stride"],
        "stride_t": values["time_stride"],
        "dim": dim,
        "depth": len(layers),
        "heads": values.get("num_attention_heads") or max(dim // 64, 1),
        "mlp_ratio": 4.0 if hidden is None else hidden.shape[0] / dim,
        "time_positions": grid_size(frames, values["time_stride"]),
        "norm_eps": values["layer_norm_eps"],
        "head_norm_eps": values["layer_norm_eps"],
    }


def _check_config(values: Mapping[str, Any], path: Path) -> None:
    patch = values["patch_size"]
    patch = patch[0] if isinstance(patch, list) and patch and all(one == patch[0] for one in patch) else patch
    for key, value, expected in (
        ("patch_size", patch, PATCH),
        ("hidden_act", values["hidden_act"], "gelu"),
        ("qkv_bias", values["qkv_bias"], True),
    ):
        if value != expected:
            raise CheckpointError(f"{path}: its {CONFIG} says {key}={value!r:.60}, MAEST has {expected!r}")
    for key, least in _COUNTS.items():
        value, may_lack = values.get(key), key in ("max_length", "num_attention_heads")
        if not (value is None and may_lack) and (type(value) is not int or not least <= value <= LARGEST):
            raise CheckpointError(
                f"{path}: its {CONFIG} says {key}={value!r:.60}, expected a positive whole number "
                f"({least} to {LARGEST:,})"
            )
    epsilon = values["layer_norm_eps"]
    if type(epsilon) not in (int, float) or not 0 <= epsilon < 1:
        raise CheckpointError(f"{path}: its {CONFIG} says layer_norm_eps={epsilon!r:.60}, expected a small number")


_COUNTS = {
    "num_mel_bins": PATCH,
    "max_length": PATCH,
    "frequency_stride": 1,
    "time_stride": 1,
    "num_attention_heads": 1,
}


def _metadata(config: Mapping[str, Any], folder: Path, classes: int) -> dict[str, Any]:
    """Labels, normalisation and what else a folder says."""
    metadata = config.get(OURS, {})
    if not isinstance(metadata, dict):
        raise CheckpointError(f"{folder / CONFIG}: {OURS}={metadata!r:.60}, expected an object; delete that entry")
    metadata = dict(metadata)
    labels = read_labels(config)
    if labels is not None and len(labels) == classes:
        metadata["labels"] = labels
    if not metadata.get("task") and config.get("problem_type") == "single_label_classification":
        metadata["task"] = "genre"
    extractor = read_json(folder / EXTRACTOR_FILE) if config and (folder / EXTRACTOR_FILE).is_file() else {}
    kind = extractor.get("feature_extractor_type", EXTRACTOR)
    if kind != EXTRACTOR:
        metadata["feature_extractor"] = kind
    elif "normalisation" not in metadata and {"mean", "std"} <= extractor.keys():
        metadata["normalisation"] = [extractor["mean"], extractor["std"]]
    return check_metadata(metadata, str(folder))


def _config(network: MAEST, labels: Sequence[str], metadata: Mapping[str, Any]) -> dict[str, Any]:
    given = network.hyperparameters
    names = list(labels) or [f"LABEL_{number}" for number in range(network.n_classes)]
    columns = network.grid[1]
    whole = grid_size(network.n_frames, network.stride_t) == columns
    return {
        "architectures": ["ASTForAudioClassification"],
        "model_type": MODEL_TYPE,
        "hidden_size": network.dim,
        "num_hidden_layers": network.depth,
        "num_attention_heads": given["heads"],
        "intermediate_size": network.blocks[0].mlp.fc1.out_features,
        "hidden_act": "gelu",
        "hidden_dropout_prob": given["dropout"],
        "attention_probs_dropout_prob": given["attention_dropout"],
        "layer_norm_eps": given["norm_eps"],
        "patch_size": PATCH,
        "qkv_bias": True,
        "frequency_stride": network.stride_f,
        "time_stride": network.stride_t,
        "max_length": network.n_frames if whole else PATCH + (columns - 1) * network.stride_t,
        "num_mel_bins": network.n_bands,
        "problem_type": PROBLEMS.get(str(metadata.get("task")), "multi_label_classification"),
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
        "torch_dtype": "float32",
        OURS: dict(metadata),
    }


def _check_expressible(network: nn.Module, labels: Sequence[str]) -> None:
    if not isinstance(network, MAEST):
        raise CheckpointError(
            f"AST's layout is that of {MAEST.name}, not of {type(network).__name__}: "
            f"export it as onnx, torch_export or safetensors"
        )
    if labels and len(labels) != network.n_classes:
        raise CheckpointError(f"{len(labels)} labels for a network of {network.n_classes} classes: give one for each")
    if len(set(labels)) != len(labels):
        twice = next(label for label in labels if list(labels).count(label) > 1)
        raise CheckpointError(f"the label {twice!r} stands for several classes: AST needs distinct names")
    always = [key for key in network.hyperparameters if key.endswith(("_indices", "_interleaved"))]
    if dropped := [key for key in always if network.hyperparameters[key]]:
        raise CheckpointError(f"{', '.join(dropped)}: AST always sees all patches; export the network without patchout")


def _differences(network: MAEST) -> list[str]:
    given = network.hyperparameters
    notes = [
        "features: transformers has no front end for this network; ASTFeatureExtractor computes another spectrogram. "
        f"Feed the normalised log-mel [B, {CONFIG} max_length, num_mel_bins] of this suite's front end.",
        f"length: AST takes windows of exactly max_length frames; shorter ones must be padded, which {OURS} need not.",
    ]
    if given["head_norm_eps"] != given["norm_eps"]:
        notes.append(
            f"the norm of the head has epsilon {given['head_norm_eps']:g} here and {given['norm_eps']:g} there, as AST "
            f"has one for all: logits differ by about {abs(given['head_norm_eps'] - given['norm_eps']) / 2:.0e} "
            f"of themselves for features of variance one."
        )
    if network.distilled_type == "separated":
        notes.append(
            "heads: head_dist is left out, and AST feeds the remaining head with the mean of CLS and DIST, not with "
            "CLS: its logits are not those of this network."
        )
    return notes


def _weights_file(folder: Path) -> Path:
    file = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if file is None:
        raise CheckpointError(
            f"{folder} has a {CONFIG} but neither {' nor '.join(WEIGHT_FILES)}: download it whole, and save weights "
            f"that are split into several files as one (max_shard_size)"
        )
    return file
