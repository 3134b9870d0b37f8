"""Audio to outputs as one module, and the files made of it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from models.errors import ExportError
from models.frontends.mel import MatrixMel
from models.frontends.musicnn import HOP, MEAN, STD, MusiCNNMel
from models.inputs import Inputs
from models.maest import MAEST
from models.maest.export import AudioNetwork
from models.network import main_head
from models.onnx_files import audio_session, quantised, write_onnx
from models.onnx_sessions import open_onnx, read_properties
from models.programs import open_program, write_program
from preprocess.decode import load

DATA = Path(__file__).parents[2] / "data"
MUSIC = ("piano_prelude.ogg", "super_polka.ogg", "solo_voice.ogg")
FRAMES, DEPTH, CLASSES = 312, 2, 11


def network(**settings) -> MAEST:
    """A small network whose every parameter matters."""
    torch.manual_seed(0)
    made = MAEST(**{"n_classes": CLASSES, "n_frames": FRAMES, "dim": 64, "depth": DEPTH, "heads": 2, **settings})
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made.eval()


@pytest.fixture(scope="module")
def clips() -> torch.Tensor:
    """Three clips of 5 s of real music, `[3, samples]`."""
    return torch.stack([torch.from_numpy(load(DATA / name, 16_000))[: FRAMES * HOP] for name in MUSIC])


def expected(net: MAEST, audio: torch.Tensor, blocks: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """By the way of the front end, as many frames as `predict` cuts."""
    frontend = MusiCNNMel()
    mel = Inputs(frontend, frontend.mean, frontend.std)(frontend(audio)[:, : audio.shape[1] // HOP])
    with torch.inference_mode():
        logits, tokens = net.forward_and_embed(mel, [net.layer_names[block] for block in blocks])
    return main_head(logits), torch.stack([tokens[net.layer_names[block]] for block in blocks], 1)


def assert_close(found, wanted, atol: float = 1e-4) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(torch.as_tensor(one), other, rtol=0, atol=atol)


@pytest.mark.parametrize("variant", ["essentia", "torch"])
@pytest.mark.parametrize("name", sorted(path.name for path in DATA.glob("*.[om]*[g3]")))
def test_the_log_mel_by_matrices_is_that_of_the_front_end(name, variant):
    frontend = MusiCNNMel(variant)
    audio = torch.from_numpy(load(DATA / name, 16_000))[None]
    audio = audio[:, : audio.shape[1] // HOP * HOP]
    frames = audio.shape[1] // HOP
    torch.testing.assert_close(MatrixMel(frontend, whole=False)(audio), frontend(audio)[:, :frames], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"distilled_type": "separated"},
        {"s_patchout_f_interleaved": 2, "s_patchout_t_indices": [0, 5]},
        {"n_frames": 625, "stride_f": 12, "stride_t": 14},
    ],
    ids=["mean", "separated", "patchout", "strides"],
)
@pytest.mark.parametrize("blocks", [[0], [1, 0]], ids=["early", "last first"])
def test_one_module_is_front_end_and_network(clips, settings, blocks):
    net = network(**settings)
    module = AudioNetwork(net, MusiCNNMel(), MEAN, STD, blocks, FRAMES)
    assert_close(module(clips), expected(net, clips, blocks))


def test_shorter_clips_have_the_first_positions(clips):
    net, audio = network(), clips[:, : 100 * HOP]
    assert_close(AudioNetwork(net, MusiCNNMel(), MEAN, STD, [0], 100)(audio), expected(net, audio, [0]))


@pytest.mark.parametrize(
    ("blocks", "frames", "told"),
    [([2], None, "0 to 1"), ([], None, "0 to 1"), ([1, 1], None, "once"), ([1], 400, "16 to"), ([1], 8, "16 to")],
)
def test_what_cannot_be_is_said(blocks, frames, told):
    with pytest.raises(ExportError, match=told):
        AudioNetwork(network(), MusiCNNMel(), MEAN, STD, blocks, frames)


def test_onnx_takes_any_batch_and_length(clips, tmp_path):
    net, blocks, file = network(), [1, 0], tmp_path / "network.onnx"
    about = {"labels": json.dumps(["ä", "b"]), "licence": "own"}
    write_onnx(file, AudioNetwork(net, MusiCNNMel(), MEAN, STD, blocks), about, any_length=True)
    assert [path.name for path in tmp_path.iterdir()] == ["network.onnx"]
    assert read_properties(file) == about
    session = open_onnx(file, 1)
    assert [output.name for output in session.get_outputs()] == ["logits", "embeddings"]
    for batch, frames in ((1, FRAMES), (3, FRAMES), (2, 100), (1, 26)):
        audio = clips[:batch, : frames * HOP].contiguous()
        assert_close(session.run(None, {"audio": audio.numpy()}), expected(net, audio, blocks))


def test_onnx_of_clips_of_one_length(clips):
    net = network(s_patchout_f_interleaved=2, depth=1)
    module, audio = AudioNetwork(net, MusiCNNMel(), MEAN, STD, [0], 200), clips[:, : 200 * HOP].contiguous()
    session = audio_session(module, threads=1)
    assert session.get_inputs()[0].shape == ["batch", 200 * HOP]
    assert_close(session.run(None, {"audio": audio.numpy()}), expected(net, audio, [0]))


def test_patchout_fixes_the_length(tmp_path):
    module = AudioNetwork(network(s_patchout_f_interleaved=2), MusiCNNMel(), MEAN, STD, [1])
    for write in (write_onnx, write_program):
        with pytest.raises(ExportError, match="patchout"):
            write(tmp_path / "network", module, {}, any_length=True)
    assert not list(tmp_path.iterdir())


def test_eight_bits_are_all_products_of_the_blocks_and_near(clips, tmp_path):
    net, file, blocks = network(), tmp_path / "small.onnx", [0, 1]
    write_onnx(file, AudioNetwork(net, MusiCNNMel(), MEAN, STD, blocks, fused=True), {"a": "b"}, int8=True)
    model = onnx.load(file)
    products = [f"blocks.{block}.{name}" for block in range(DEPTH) for name in ("qkv", "proj", "fc1", "fc2")]
    assert sorted(quantised(model)) == sorted(products)
    operations = Counter(node.op_type for node in model.graph.node)
    assert operations["MultiHeadAttention"] == DEPTH
    assert operations["MatMul"] == 3  # spectrum, mel and classes are not rounded to 8 bits
    assert {"a": "b"}.items() <= read_properties(file).items()
    weights = [onnx.numpy_helper.to_array(each) for each in model.graph.initializer if each.data_type == 3]
    matrices = [weight for weight in weights if weight.ndim == 2]
    assert len(matrices) == len(products)
    assert max(int(np.abs(matrix).max()) for matrix in matrices) <= 64  # no pair of products overflows 16 bits
    logits, embeddings = open_onnx(file, 1).run(None, {"audio": clips.numpy()})
    wanted, tokens = expected(net, clips, blocks)
    assert np.isfinite(logits).all()
    for ours, theirs in zip(wanted.numpy(), logits, strict=True):
        assert np.corrcoef(ours.argsort().argsort(), theirs.argsort().argsort())[0, 1] > 0.95
    assert np.abs(embeddings - tokens.numpy()).max() < 0.1 * tokens.abs().max()


def test_a_program_takes_any_batch_and_length(clips, tmp_path):
    net, file = network(), tmp_path / "network.pt2"
    write_program(file, AudioNetwork(net, MusiCNNMel(), MEAN, STD, [0]), {"licence": "own"}, any_length=True)
    program, about = open_program(file)
    assert about == {"licence": "own"}
    for batch, frames in ((1, FRAMES), (3, 100), (1, 26)):
        audio = clips[:batch, : frames * HOP]
        assert_close(program(audio), expected(net, audio, [0]), atol=1e-5)
