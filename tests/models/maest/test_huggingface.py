"""Hugging Face's Audio Spectrogram Transformer and ours: the same weights, the same values, in both directions."""

from __future__ import annotations

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.checkpoints import CheckpointError, initialise, load_any, read_metadata
from models.maest import MAEST
from models.maest.ast_layout import split_positions, theirs
from models.maest.huggingface import read_huggingface, write_huggingface
from tests.models.maest.shapes import build
from tests.peers import peer

transformers = peer("transformers")

SMALL = {"n_classes": 5, "n_frames": 312, "dim": 32, "depth": 2, "heads": 2, "mlp_ratio": 3.0}
LABELS = ["Rock---Punk", "Folk, World, & Country---Éntekhno", "Jazz---Bebop", "Pop---Kayōkyoku", "Blues---Piano Blues"]
PUBLISHED_SIZE = 86_858_128  # parameters of the 30-s network as Hugging Face counts them


def randomised(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def ours(**overrides) -> MAEST:
    return randomised(MAEST(**{**SMALL, **overrides}))


def published(**overrides) -> transformers.ASTForAudioClassification:
    """An AST in the shape of the published folders, whose positions are a sum as theirs are."""
    settings = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "num_mel_bins": 96,
        "max_length": 316,
        "layer_norm_eps": 1e-6,
        "id2label": dict(enumerate(LABELS)),
        "label2id": {label: number for number, label in enumerate(LABELS)},
    }
    network = randomised(transformers.ASTForAudioClassification(transformers.ASTConfig(**{**settings, **overrides})))
    frequency, time = torch.randn(9, 1, 32), torch.randn(1, 31, 32)
    with torch.no_grad():
        network.audio_spectrogram_transformer.embeddings.position_embeddings[0, 2:] = (frequency + time).flatten(0, 1)
    return network


def values(network: transformers.ASTForAudioClassification, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and pooled features of AST for our input."""
    with torch.no_grad():
        return network(x).logits, network.audio_spectrogram_transformer(x).pooler_output


@pytest.mark.parametrize("overrides", [{}, {"time_positions": 31}, {"stride_f": 16, "stride_t": 12}])
@torch.no_grad()
def test_transformers_opens_what_is_written_and_computes_the_same(tmp_path, overrides):
    network = ours(**overrides)
    notes = write_huggingface(tmp_path, network, LABELS, {"task": "tagging", "licence": "none"})
    assert any("epsilon 1e-05 here and 1e-06 there" in note for note in notes)
    assert any("no front end" in note for note in notes)
    opened, told = transformers.ASTForAudioClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(told.values())
    x = torch.randn(2, opened.config.max_length, 96)
    logits, features = values(opened.eval(), x)
    torch.testing.assert_close(logits, network(x), atol=1e-4, rtol=0)
    torch.testing.assert_close(features, network.features(x), atol=1e-5, rtol=0)
    assert [opened.config.id2label[number] for number in range(5)] == LABELS
    assert opened.config.problem_type == "multi_label_classification"
    assert (opened.config.num_mel_bins, opened.config.layer_norm_eps) == (96, 1e-6)


@torch.no_grad()
def test_what_transformers_wrote_is_opened_and_computes_the_same(tmp_path):
    network = published()
    network.save_pretrained(tmp_path)
    loaded, metadata = load_any(tmp_path)
    assert metadata == {"labels": LABELS}
    assert (loaded.n_frames, loaded.grid, loaded.hyperparameters["heads"]) == (316, (9, 31), 4)
    assert loaded.head[0].eps == loaded.blocks[0].norm1.eps == 1e-6
    assert not loaded.head_dist.weight.any()
    x = torch.randn(2, 316, 96)
    logits, features = values(network, x)
    torch.testing.assert_close(loaded(x), logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(loaded.features(x), features, atol=1e-5, rtol=0)
    write_huggingface(tmp_path / "again", loaded, metadata["labels"], {})
    again = transformers.ASTForAudioClassification.from_pretrained(tmp_path / "again").eval()
    torch.testing.assert_close(values(again, x)[0], logits, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_folder_of_ours_comes_back_with_what_belongs_to_it(tmp_path):
    network = ours(head_norm_eps=1e-6)
    metadata = {"task": "tagging", "frontend": "0123456789abcdef", "normalisation": [2.0, 1.5], "licence": "CC BY 4.0"}
    assert not any("epsilon" in note for note in write_huggingface(tmp_path, network, LABELS, metadata))
    loaded, told = load_any(tmp_path)
    assert told == {**metadata, "labels": LABELS} == read_metadata(tmp_path)
    x = torch.randn(2, 312, 96)
    torch.testing.assert_close(loaded(x), network(x), atol=1e-5, rtol=0)
    extractor = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert (extractor["mean"], extractor["std"], extractor["hop_length"]) == (2.0, 1.5, 256)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "config.json", "model.safetensors", "preprocessor_config.json"
    ]  # fmt: skip


def test_transformers_takes_no_other_front_end_for_ours(tmp_path):
    write_huggingface(tmp_path, ours(), [], {})
    with pytest.raises(ValueError, match="Unrecognized feature extractor"):
        transformers.AutoFeatureExtractor.from_pretrained(tmp_path)


def test_the_published_size():
    with torch.device("meta"):
        tensors = theirs(build("maest_30s", time_positions=187))
    assert sum(math.prod(tensor.shape) for tensor in tensors.values()) == PUBLISHED_SIZE


@torch.no_grad()
def test_weights_alone_tell_the_published_shape(tmp_path):
    network = ours(dim=64, heads=1, time_positions=31, head_norm_eps=1e-6)
    write_huggingface(tmp_path / "folder", network, LABELS, {})
    (tmp_path / "folder" / "model.safetensors").rename(tmp_path / "alone.safetensors")
    loaded, metadata = load_any(tmp_path / "alone.safetensors")
    x = torch.randn(1, 316, 96)
    torch.testing.assert_close(loaded(x), network(x), atol=1e-5, rtol=0)
    assert metadata == {}


def test_half_precision_and_pytorch_files_are_read(tmp_path):
    network = published()
    state = {key: tensor.half() for key, tensor in saved_state(network, tmp_path).items()}
    (tmp_path / "model.safetensors").unlink()
    torch.save(state, tmp_path / "pytorch_model.bin")
    weights = read_huggingface(tmp_path)
    assert {tensor.dtype for tensor in weights.state.values()} == {torch.float32}
    assert weights.notes == {}


def saved_state(network, folder) -> dict[str, torch.Tensor]:
    network.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


def test_positions_that_are_no_sum_are_refused_or_reported(tmp_path):
    network = published()
    with torch.no_grad():
        network.audio_spectrogram_transformer.embeddings.position_embeddings[0, 40] += 0.1
    network.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"no sum of one over frequency .*off by up to 0\.0"):
        load_any(tmp_path)
    start = MAEST(**SMALL)
    report = initialise(start, tmp_path)
    assert "nearest sum to one table of positions" in report.adapted["freq_new_pos_embed"]
    assert "; stretched from" in report.adapted["time_new_pos_embed"]
    assert report.reinitialised == ["head_dist.weight", "head_dist.bias"]
    assert sorted([*report.loaded, *report.adapted, *report.reinitialised]) == sorted(start.state_dict())


def test_the_nearest_sum_is_the_least_squares_solution():
    grid = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    frequency, time, residual = split_positions(grid)
    left = grid - frequency[0, :, :, 0].t()[:, None] - time[0, :, 0].t()[None]
    for axis in (0, 1):
        torch.testing.assert_close(left.sum(dim=axis), torch.zeros_like(left.sum(dim=axis)), atol=1e-5, rtol=0)
    assert residual == pytest.approx(float(left.abs().max() / grid.abs().max()), rel=1e-4)


def test_a_network_without_classifier_is_for_starting_from(tmp_path):
    published().audio_spectrogram_transformer.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="has no classifier: use it as initial weights"):
        load_any(tmp_path)
    report = initialise(MAEST(**{**SMALL, "n_frames": 316}), tmp_path)
    assert [key for key in report.reinitialised if not key.startswith("head")] == []
    assert len(report.reinitialised) == 6


def edited(folder, file="config.json", **changes):
    config = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({key: value for key, value in {**config, **changes}.items() if value != "-"}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "vit"}, "model of type 'vit'"),
        ({"hidden_act": "relu"}, "hidden_act='relu', MAEST has 'gelu'"),
        ({"patch_size": [16, 8]}, r"patch_size=\[16, 8\], MAEST has 16"),
        ({"num_mel_bins": "96"}, "num_mel_bins='96', expected a positive whole number"),
        ({"num_mel_bins": None}, "num_mel_bins=None, expected a positive whole number"),
        ({"ostinato": 3}, "ostinato=3, expected an object"),
        ({"max_length": 626}, r"\[1, 281, 32\], bands, length and strides say 2 \+ 9 x 62"),
        ({"num_mel_bins": "-"}, r"2 \+ 12 x 31"),
    ],
)
def test_configurations_that_do_not_fit(tmp_path, changes, message):
    published().save_pretrained(tmp_path)
    edited(tmp_path, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_any(tmp_path)


def test_what_a_configuration_leaves_out_is_what_ast_takes(tmp_path):
    published().save_pretrained(tmp_path)
    edited(tmp_path, layer_norm_eps="-", id2label="-")
    weights = read_huggingface(tmp_path)
    assert weights.header["network"]["norm_eps"] == transformers.ASTConfig().layer_norm_eps
    assert "labels" not in weights.header


def test_features_of_another_extractor_are_told(tmp_path):
    write_huggingface(tmp_path, ours(), LABELS, {})
    edited(tmp_path, "preprocessor_config.json", feature_extractor_type="ASTFeatureExtractor")
    metadata = read_metadata(tmp_path)
    assert metadata["feature_extractor"] == "ASTFeatureExtractor"
    assert "normalisation" not in metadata


def test_damaged_folders_are_named(tmp_path):
    state = saved_state(published(), tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json is not readable JSON"):
        load_any(tmp_path)
    (tmp_path / "config.json").unlink()
    del state["audio_spectrogram_transformer.encoder.layer.1.attention.attention.key.bias"]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"beside encoder\.layer\.1.*query\.bias its key"):
        load_any(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no file of weights"):
        load_any(tmp_path)


def test_what_ast_cannot_express_is_refused_or_said(tmp_path):
    with pytest.raises(CheckpointError, match="s_patchout_t_interleaved: AST always sees all patches"):
        write_huggingface(tmp_path, ours(s_patchout_t_interleaved=2), LABELS, {})
    with pytest.raises(CheckpointError, match="2 labels for a network of 5 classes"):
        write_huggingface(tmp_path, ours(), ["a", "b"], {})
    with pytest.raises(CheckpointError, match="the label 'a' stands for several classes"):
        write_huggingface(tmp_path, ours(), ["a", "b", "c", "d", "a"], {})
    assert list(tmp_path.iterdir()) == []
    notes = write_huggingface(tmp_path, ours(distilled_type="separated"), LABELS, {})
    assert any("head_dist is left out" in note for note in notes)
