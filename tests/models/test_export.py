"""Any network as one module that takes audio, and the files made of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.errors import ExportError
from models.frontends import build
from models.frontends.mel import MelFrontEnd, decibels, hann, mel_filters
from models.inputs import Inputs
from models.maest import MAEST
from models.maest.export import AudioNetwork
from models.onnx_files import write_onnx
from models.onnx_sessions import open_onnx
from models.outputs import main_head
from models.programs import open_program, write_program
from tests.models.toys import Levels, Raw, Toy


class Decibels(MelFrontEnd):
    """As those of tagging networks."""

    sample_rate, hop = 16_000, 256

    def __init__(self, bands: int = 8, n_fft: int = 512) -> None:
        super().__init__(hann(n_fft), mel_filters(16_000, n_fft, bands, scale="htk", norm="none"))

    def compress(self, mel):
        return decibels(mel)


def toy(**arguments) -> Toy:
    torch.manual_seed(0)
    made = Toy(**{"n_classes": 3, **arguments})
    made.norm.running_mean.add_(0.3)
    return made.eval()


def audio(samples: int, batch: int = 2) -> torch.Tensor:
    return 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(0))


def expected(network, inputs, clips, layers, frames=None):
    with torch.inference_mode():
        logits, tokens = network.forward_and_embed(inputs(clips)[:, :frames], layers)
    return main_head(logits), torch.stack([tokens[layer] for layer in layers], 1)


def assert_close(found, wanted, atol=1e-4):
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(torch.as_tensor(one), other, rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("frontend", "layer", "second"), [(Levels(), "frames", False), (Decibels(), "clip", True)], ids=["own", "mel"]
)
def test_one_module_is_front_end_and_network_and_so_are_its_files(frontend, layer, second, tmp_path):
    network, inputs = toy(second=second), Inputs(frontend, -3.0, 2.0, audio=True)
    form = network.export_form(inputs, [layer], frames=20)
    assert form.samples == frontend.n_samples(20)
    clips = audio(form.samples, 3)
    wanted = expected(network, Inputs(frontend, -3.0, 2.0, audio=True), clips, [layer])
    assert_close(form(clips), wanted)
    write_onnx(tmp_path / "x.onnx", form, {"a": "b"})
    assert_close(open_onnx(tmp_path / "x.onnx", 1).run(None, {"audio": clips.numpy()}), wanted)
    write_program(tmp_path / "x.pt2", form, {"a": "b"})
    program, about = open_program(tmp_path / "x.pt2")
    assert about == {"a": "b"}
    assert_close(program(clips), wanted)


def test_files_take_windows_of_any_length(tmp_path):
    network, inputs = toy(), Inputs(Decibels(), -3.0, 2.0, audio=True)
    form = network.export_form(inputs, ["clip"], frames=20)
    write_onnx(tmp_path / "x.onnx", form, {}, any_length=True)
    write_program(tmp_path / "x.pt2", form, {}, any_length=True)
    session, program = open_onnx(tmp_path / "x.onnx", 1), open_program(tmp_path / "x.pt2")[0]
    for batch, hops in ((1, 3), (2, 20), (1, 50)):
        clips = audio(256 * hops, batch)
        wanted = expected(network, inputs, clips, ["clip"])
        assert_close(session.run(None, {"audio": clips.numpy()}), wanted)
        assert_close(program(clips), wanted)


def test_a_network_of_samples(tmp_path):
    network, frontend = Raw(3).eval(), build("waveform", sample_rate=8000)
    assert network.embedding_shape("clip", frontend.item_shape) == (1, 4)
    inputs = Inputs(frontend, frontend.mean, frontend.std, audio=True)
    form = network.export_form(inputs, ["clip"], frames=1000)
    write_onnx(tmp_path / "x.onnx", form, {}, any_length=True)
    session = open_onnx(tmp_path / "x.onnx", 1)
    for samples in (16, 777, 1000, 5000):
        clips = audio(samples)
        wanted = expected(network, inputs, clips, ["clip"])
        assert_close(form(clips), wanted)
        assert_close(session.run(None, {"audio": clips.numpy()}), wanted)


def test_windows_cut_from_features_have_a_frame_for_each_hop():
    network, frontend = toy(), build("musicnn")
    network = Toy(n_classes=3, bands=96).eval()
    form = network.export_form(Inputs(frontend, frontend.mean, frontend.std), ["clip"], frames=20)
    assert form.samples == 20 * 256
    clips = audio(form.samples)
    inputs = Inputs(frontend, frontend.mean, frontend.std, audio=True)
    assert_close(form(clips), expected(network, inputs, clips, ["clip"], 20))


def test_the_network_stays_as_it_was():
    network, frontend = toy().train(), Levels()
    network.export_form(Inputs(frontend, 0.0, 0.5, audio=True), ["clip"], frames=9)
    assert network.training
    assert frontend.training
    assert all(parameter.requires_grad for parameter in (*network.parameters(), *frontend.parameters()))


@pytest.mark.parametrize(
    ("layers", "frames", "why"),
    [
        ([], 9, r"layers \[\]: expected some of frames, clip, each once"),
        (["clip", "clip"], 9, "each once"),
        (["hidden"], 9, r"layers \['hidden'\]: expected some of frames, clip"),
        (["clip", "frames"], 9, r"different shapes \(clip \[1, 6\], frames \[7, 6\]\): export .* clip or frames"),
        (["clip"], 2, "windows of 2 frames: this network takes 3 or more"),
        (["clip"], None, "takes windows of any length: give the length to export"),
    ],
)
def test_what_cannot_be_exported_is_named(layers, frames, why):
    with pytest.raises(ExportError, match=why):
        toy().export_form(Inputs(Levels(), 0.0, 0.5, audio=True), layers, frames)


def test_eight_bits_are_for_networks_that_have_such_a_form(tmp_path):
    inputs = Inputs(Levels(), 0.0, 0.5, audio=True)
    with pytest.raises(ExportError, match="Toy has no 8-bit form"):
        toy().export_form(inputs, ["clip"], 9, fused=True)
    with pytest.raises(ExportError, match="no 8-bit form"):
        write_onnx(tmp_path / "x.onnx", toy().export_form(inputs, ["clip"], 9), {}, int8=True)
    assert not list(tmp_path.iterdir())


def test_the_length_is_the_networks_own_where_none_is_given(monkeypatch):
    inputs = Inputs(Levels(), 0.0, 0.5, audio=True)
    monkeypatch.setattr(Toy, "window", 12)
    assert toy().export_form(inputs, ["clip"]).samples == 1100
    monkeypatch.setattr(Toy, "window", None)
    monkeypatch.setattr(Toy, "seconds", 0.5)
    assert toy().export_form(inputs, ["clip"]).samples == 3900
    monkeypatch.setattr(Toy, "window_samples", 1234)
    assert toy().export_form(inputs, ["clip"]).samples == 1234
    assert toy().export_form(inputs, ["clip"], frames=20).samples == 1900


def test_maest_has_a_form_of_its_own():
    network = MAEST(n_classes=3, n_frames=64, dim=32, depth=2, heads=2).eval()
    frontend = build("musicnn")
    form = network.export_form(Inputs(frontend, frontend.mean, frontend.std), ["block_01", "block_00"])
    assert isinstance(form, AudioNetwork)
    clips = audio(form.samples)
    inputs = Inputs(frontend, frontend.mean, frontend.std, audio=True)
    assert_close(form(clips), expected(network, inputs, clips, ["block_01", "block_00"], 64))
    plain = network.export_form(inputs, ["block_01"])
    clips = audio(plain.samples)
    assert_close(plain(clips), expected(network, inputs, clips, ["block_01"]))
    with pytest.raises(ExportError, match=r"expected some of block_00, block_01"):
        network.export_form(inputs, ["block_02"])


@pytest.mark.parametrize("n_fft", [512, 1024, 700])
def test_maest_over_other_front_ends_sees_the_frames_that_features_have(n_fft):
    network = MAEST(n_classes=3, n_frames=30, n_bands=16, dim=32, depth=2, heads=2).eval()
    frontend = Decibels(16, n_fft)
    form = network.export_form(Inputs(frontend, -30.0, 10.0), ["block_00"])
    clips = audio(form.samples)
    assert form.samples == 30 * 256
    inputs = Inputs(frontend, -30.0, 10.0, audio=True)
    whole = expected(network, inputs, clips, ["block_00"], 30)
    assert isinstance(form, AudioNetwork) == (n_fft == 512)
    assert_close(form(clips), whole, atol=1e-3)


def test_outputs_of_a_file_are_finite_for_silence(tmp_path):
    form = toy().export_form(Inputs(Decibels(), -3.0, 2.0, audio=True), ["clip"], frames=5)
    write_onnx(tmp_path / "x.onnx", form, {})
    outputs = open_onnx(tmp_path / "x.onnx", 1).run(None, {"audio": np.zeros((1, form.samples), np.float32)})
    assert all(np.isfinite(output).all() for output in outputs)
