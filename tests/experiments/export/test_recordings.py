"""What an exported file says of front end and windows is what the network says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.encoder import Encoder
from experiments.export import formats
from experiments.export.facts import KEY, RecordingFacts, read_facts
from experiments.export.recordings import _of_frontend, facts_of
from experiments.settings import ExportSettings
from experiments.tasks import build
from models import frontends
from models.errors import ExportError
from models.maest import MAEST
from models.onnx_sessions import read_properties
from models.samplecnn import SampleCNN
from models.tempo_cnn import TempoCNN
from tests.models.toys import Toy


def facts(encoder: Encoder, any_length: bool = False, samples: int | None = None) -> RecordingFacts:
    """Through text, as in a file."""
    rows = encoder.windowing().rows if encoder.audio else encoder.window * encoder.frontend.hop
    layers = [encoder.network.layer_names[-1]]
    found = facts_of(encoder, layers, encoder.window, samples or rows, any_length)
    return read_facts({"suite": "ostinato", KEY: found.model_dump_json()}, "net.onnx")


@pytest.fixture(scope="module")
def encoders() -> dict[str, Encoder]:
    genre = build("genre", classes=["x", "y"])
    networks = {
        "maest": MAEST(n_classes=2, n_frames=100, dim=16, depth=1, heads=2),
        "tempo": TempoCNN(k=1),
        "toy": Toy(2),
        "samples": SampleCNN(n_classes=2),
    }
    tasks = {"tempo": build("tempo")}
    return {name: Encoder.of(network, task=tasks.get(name, genre)) for name, network in networks.items()}


@pytest.mark.parametrize("name", sorted(frontends.names()))
@given(samples=st.integers(4096, 500_000), frames=st.integers(20, 2000))
def test_frames_and_samples_of_every_front_end(name, samples, frames):
    frontend = frontends.build(name)
    known = _of_frontend(frontend)
    assert known.n_frames(samples) == frontend.n_frames(samples)
    assert known.n_samples(frames) == frontend.n_samples(frames)
    assert known.frame_rate == frontend.frame_rate


@pytest.mark.parametrize("name", ["maest", "tempo", "toy", "samples"])
@pytest.mark.parametrize("any_length", [False, True])
def test_windows(encoders, name, any_length):
    encoder = encoders[name]
    known = facts(encoder, any_length)
    assert known.description == encoder.description
    assert known.network.samples_of(known.frontend, encoder.window) == encoder.windowing().rows or not encoder.audio
    short = int(0.9 * encoder.window) - 1
    if encoder.network.unpadded(encoder.window) is None:
        assert known.network.unpadded(short) is None
    elif any_length:
        assert known.network.unpadded(short) == encoder.network.unpadded(short)
        with pytest.raises(ValueError, match="needs at least"):
            known.network.unpadded(1)
    else:
        with pytest.raises(ValueError, match=r"export\.any_length=True"):
            known.network.unpadded(short)


def test_other_windows_than_those_of_recordings_are_refused(encoders):
    with pytest.raises(ExportError, match="takes windows of 99 samples"):
        facts(encoders["toy"], samples=99)


def test_a_network_that_cannot_be_described_is_exported_all_the_same(encoders, tmp_path, monkeypatch):
    def refused(*_: object) -> None:
        raise ExportError("frames of its own")

    monkeypatch.setattr(formats, "facts_of", refused)
    path, encoder = tmp_path / "toy.onnx", encoders["toy"]
    job = formats.ExportJob(ExportSettings(path=str(path)), encoder, ["clip"], encoder.window, {"suite": "ostinato"})
    assert formats.FORMATS["onnx"].write(path, job) == (
        "service.engine=onnx cannot serve this file: frames of its own",
    )
    assert read_properties(path).keys() >= {"suite", "layers"}
    assert KEY not in read_properties(path)
