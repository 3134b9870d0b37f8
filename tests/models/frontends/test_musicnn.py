"""The MusiCNN log-mel against Essentia's binary, torchaudio, and an independent float64 reference."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import soxr
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.frontends import MusiCNNMel, build
from models.inputs import Inputs
from tests.peers import peer

MEL_NAMES = ("musicnn", "musicnn_torch")
CLIPS = sorted(path for path in (Path(__file__).parents[2] / "data").iterdir() if path.suffix in {".ogg", ".mp3"})


def reference(audio: np.ndarray) -> np.ndarray:
    """Sections 1.1 and 1.2 of the definition, in float64 and by the letter: loops and a DFT matrix."""
    n = np.arange(512)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / 511)
    dft = np.exp(-2j * np.pi * np.outer(n, np.arange(257)) / 512)
    mels = np.linspace(0, 15 + np.log(8000 / 1000) / (np.log(6.4) / 27), 98)
    edges = [3 * 0 if m == 0 else m * 200 / 3 if m < 15 else 1000 * np.exp((m - 15) * np.log(6.4) / 27) for m in mels]
    hertz = np.arange(257) * 16000 / 512
    filters = np.zeros((257, 96))
    for band in range(96):
        low, centre, high = edges[band : band + 3]
        rising, falling = (hertz - low) / (centre - low), (high - hertz) / (high - centre)
        filters[:, band] = np.clip(np.minimum(rising, falling), 0, None) / ((high - low) / 2)
    frames = []
    for centre in range(0, 256 * (int(np.ceil(len(audio) / 256)) + 1), 256):
        frame = [audio[i] if 0 <= i < len(audio) else 0.0 for i in range(centre - 256, centre + 256)]
        frames.append(np.abs((np.array(frame, np.float64) * window) @ dft) ** 2)
    return np.log10(1 + 10000 * np.array(frames) @ filters)


def quiet_essentia() -> ModuleType:
    """Its loading speaks unless told not to."""
    peer("essentia").log.infoActive = False
    peer("essentia.standard")
    return peer("essentia")


def binary(audio: np.ndarray) -> np.ndarray:
    """Essentia's own: its frame cutter and `TensorflowInputMusiCNN`."""
    essentia = quiet_essentia()
    algorithm = essentia.standard.TensorflowInputMusiCNN()
    frames = essentia.standard.FrameGenerator(audio, frameSize=512, hopSize=256, startFromZero=False)
    return np.array([algorithm(frame) for frame in frames])


def synthetic(name: str, samples: int) -> np.ndarray:
    rng, t = np.random.default_rng(7), np.arange(samples) / 16000
    signals = {
        "noise": 0.3 * rng.standard_normal(samples),
        "quiet noise": 1e-4 * rng.standard_normal(samples),
        "chord": sum(0.2 * np.sin(2 * np.pi * hertz * t) for hertz in (220, 277.2, 329.6, 6000)),
        "decaying tone": np.exp(-5 * t) * np.sin(2 * np.pi * 440 * t),
        "full-scale square": np.sign(np.sin(2 * np.pi * 100 * t + 0.1)),
        "impulse": np.eye(1, samples, samples // 2)[0],
    }
    return signals[name].astype(np.float32)


SIGNALS = ["noise", "quiet noise", "chord", "decaying tone", "full-scale square", "impulse"]


def clip(path: Path) -> np.ndarray:
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(audio.mean(axis=1)[: 5 * rate], rate, 16000).astype(np.float32)


def features(audio: np.ndarray, name: str = "musicnn") -> np.ndarray:
    return build(name)(torch.from_numpy(audio)).numpy()


@pytest.mark.parametrize("samples", [1, 255, 256, 257, 5000, 16000])
@pytest.mark.parametrize("name", SIGNALS)
def test_equals_the_definition_in_every_frame(name: str, samples: int):
    audio = synthetic(name, samples)
    np.testing.assert_allclose(features(audio), reference(audio), rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", ["noise", "quiet noise", "decaying tone", "full-scale square", "impulse"])
def test_f24_equals_the_essentia_binary_in_every_frame(name: str):
    audio = synthetic(name, 3 * 16000 + 17)
    np.testing.assert_allclose(features(audio), binary(audio), rtol=0, atol=1e-4)


@pytest.mark.parametrize("source", [*SIGNALS, *CLIPS], ids=lambda source: getattr(source, "stem", source))
def test_the_binary_differs_only_by_the_rounding_of_its_filters(source: str | Path):
    """It adds up the band edges in single precision: weights are off by 3e-7, which a loud tone on a skirt shows."""
    audio = clip(source) if isinstance(source, Path) else synthetic(source, 3 * 16000 + 17)
    settings = {"sampleRate": 16000, "numberBands": 96, "highFrequencyBound": 8000, "type": "power", "inputSize": 257}
    slaney = {"warpingFormula": "slaneyMel", "weighting": "linear", "normalize": "unit_tri", "log": False}
    essentia = quiet_essentia()
    bands = essentia.standard.MelBands(**settings, **slaney)
    frontend = MusiCNNMel()
    filters = torch.from_numpy(np.array([bands(row) for row in np.eye(257, dtype=np.float32)]))
    torch.testing.assert_close(frontend.filters, filters, rtol=0, atol=5e-7)
    frontend.filters = filters
    np.testing.assert_allclose(frontend(torch.from_numpy(audio)).numpy(), binary(audio), rtol=0, atol=2e-5)


@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.stem)
def test_equals_the_definition_and_the_binary_on_real_music(path: Path):
    audio = clip(path)
    np.testing.assert_allclose(features(audio), reference(audio), rtol=0, atol=2e-5)
    np.testing.assert_allclose(features(audio), binary(audio), rtol=0, atol=1e-3)


@pytest.mark.parametrize("samples", [257, 5000, 16000])
@pytest.mark.parametrize("name", SIGNALS)
def test_torch_variant_equals_torchaudio(name: str, samples: int):
    audio = torch.from_numpy(synthetic(name, samples))
    torchaudio = peer("torchaudio")
    spectrogram = torchaudio.transforms.Spectrogram(512, hop_length=256)
    scale = torchaudio.transforms.MelScale(96, 16000, 0, 8000, 257, norm="slaney", mel_scale="slaney")
    expected = torch.log10(1 + 10000 * scale(spectrogram(audio))).T
    torch.testing.assert_close(build("musicnn_torch")(audio), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(("seconds", "torch_frames"), [(5, 313), (10, 626), (20, 1251), (30, 1876)])
def test_frame_counts_of_the_clip_lengths(seconds: int, torch_frames: int):
    audio = torch.zeros(seconds * 16000)
    assert build("musicnn_torch")(audio).shape == (torch_frames, 96)
    assert build("musicnn")(audio).shape == (int(np.ceil(seconds * 62.5)) + 1, 96)


@given(samples=st.integers(257, 3000))
@settings(deadline=None, max_examples=40)
def test_frame_counts_of_any_length(samples: int):
    for name, expected in (("musicnn", -(-samples // 256) + 1), ("musicnn_torch", samples // 256 + 1)):
        frontend = build(name)
        assert frontend.n_frames(samples) == len(frontend(torch.zeros(samples))) == expected


@pytest.mark.parametrize("name", MEL_NAMES)
def test_a_batch_is_its_rows(name: str):
    audio, frontend = torch.randn(2, 3, 4000), build(name)
    rows = torch.stack([torch.stack([frontend(one) for one in batch]) for batch in audio])
    torch.testing.assert_close(frontend(audio), rows, rtol=0, atol=1e-5)


def test_silence_normalises_to_the_published_value():
    frontend = MusiCNNMel()
    normalised = Inputs(frontend, frontend.mean, frontend.std)(frontend(torch.zeros(1000)))
    torch.testing.assert_close(normalised, torch.full((5, 96), -0.8151), rtol=0, atol=5e-5)


def test_stored_halves_are_normalised():
    halves = torch.linspace(0, 6, 50, dtype=torch.float16)
    frontend = MusiCNNMel()
    normalised = Inputs(frontend, frontend.mean, frontend.std)(halves)
    assert normalised.dtype == torch.float32
    torch.testing.assert_close(normalised, (halves.float() - 2.06755686098554) / 2.536585641334582)


def test_filters_are_those_of_the_paper():
    filters = MusiCNNMel().filters
    assert filters.shape == (257, 96)
    assert (filters.sum(0) > 0).all()
    assert round(float(filters.max()), 4) == 0.0320


@pytest.mark.parametrize("name", MEL_NAMES)
def test_the_state_dict_is_empty(name: str):
    assert not build(name).state_dict()
    assert not list(build(name).parameters())


def test_fingerprints_tell_variants_apart_and_stay_the_same():
    assert build("musicnn").fingerprint == MusiCNNMel().fingerprint == MusiCNNMel("essentia").fingerprint
    assert build("musicnn").fingerprint != build("musicnn_torch").fingerprint
    differing = {
        key
        for key, value in build("musicnn").parameters_dict.items()
        if value != build("musicnn_torch").parameters_dict[key]
    }
    assert differing == {"window", "padding", "frames"}


def test_mixed_precision_and_tf32_do_not_touch_it():
    audio, frontend = torch.from_numpy(synthetic("noise", 8000)), MusiCNNMel()
    expected = frontend(audio)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = frontend(audio)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, expected, rtol=0, atol=0)


def test_exports_with_any_batch_and_length():
    batch, samples = torch.export.Dim("batch", max=64), torch.export.Dim("samples", min=512, max=10**7)
    frontend = MusiCNNMel()
    exported = torch.export.export(frontend, (torch.randn(2, 4000),), dynamic_shapes={"audio": {0: batch, 1: samples}})
    audio = torch.randn(3, 7001)
    torch.testing.assert_close(exported.module()(audio), frontend(audio), rtol=0, atol=1e-5)


def test_is_differentiable():
    audio = torch.randn(2000, requires_grad=True)
    MusiCNNMel()(audio).sum().backward()
    assert audio.grad.isfinite().all()
    assert audio.grad.abs().sum() > 0


def test_nan_stays_in_the_frames_that_hold_it():
    audio = torch.zeros(2560)
    audio[1300] = torch.nan
    assert MusiCNNMel()(audio).isnan().any(-1).nonzero().flatten().tolist() == [5, 6]


@pytest.mark.parametrize("dtype", [torch.int16, torch.float64, torch.float16])
def test_refuses_other_types(dtype: torch.dtype):
    with pytest.raises(TypeError, match=rf"audio is {dtype}.*float32"):
        MusiCNNMel()(torch.zeros(1000, dtype=dtype))


def test_refuses_to_compute_in_halves():
    with pytest.raises(ValueError, match=r"cast to torch\.bfloat16"):
        MusiCNNMel().bfloat16()(torch.zeros(1000))


@pytest.mark.parametrize(
    ("name", "shape"), [("musicnn", (0,)), ("musicnn", (2, 0)), ("musicnn", ()), ("musicnn_torch", (256,))]
)
def test_refuses_audio_that_is_too_short(name: str, shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"audio of shape .*at least"):
        build(name)(torch.zeros(shape))


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'musicn'; did you mean 'musicnn'.*musicnn, .*musicnn_torch"):
        build("musicn")
    with pytest.raises(ValueError, match=r"'librosa'.*essentia.*torch"):
        MusiCNNMel("librosa")
