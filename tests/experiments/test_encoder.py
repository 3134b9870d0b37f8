"""The encoder as a library: audio of any rate and length in, predictions and embeddings out, for any network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.tasks import build
from models.checkpoints import save_network
from models.errors import CheckpointError, InputError
from models.frontends import MusiCNNMel
from models.maest import MAEST
from models.rhythm.options import DECODERS, Decoding
from preprocess.sources import AudioError
from tests.models.click_toys import Clicks
from tests.models.click_toys import Levels as ClickLevels
from tests.models.toys import Levels, Toy

LABELS = ["a", "b", "c"]
RATE = 16_000
TOYS = frozenset({"tests.models.toys"})


@pytest.fixture
def network() -> MAEST:
    torch.manual_seed(0)
    network = MAEST(n_classes=3, n_frames=312, dim=32, depth=2, heads=2)
    torch.nn.init.normal_(network.head[1].weight)
    return network.eval()


@pytest.fixture
def toy() -> Encoder:
    torch.manual_seed(0)
    return Encoder.of(Toy(3), task=build("tagging", classes=LABELS), input="audio", window=80, device="cpu")


def noise(seconds: float, rate: int = RATE, channels: int | None = None) -> np.ndarray:
    shape = (round(seconds * rate),) if channels is None else (channels, round(seconds * rate))
    return 0.1 * np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_five_lines_from_a_file_to_a_prediction(network, tmp_path):
    about = {"labels": LABELS, "task": "tagging", "normalisation": [1.5, 0.5]}
    save_network(tmp_path / "net.safetensors", network, about, MusiCNNMel())
    encoder = Encoder.load(str(tmp_path / "net.safetensors"), device="cpu")
    prediction = encoder.predict(noise(12), RATE)
    assert prediction.times.tolist() == [0.0, 312 / 62.5]
    assert prediction.over_time.shape == (2, 3)
    mel = MusiCNNMel()(torch.from_numpy(noise(12))).half().float()
    windows = (torch.stack([mel[:312], mel[312:624]]) - 1.5) / 1.0
    with torch.no_grad():
        expected = network(windows).sigmoid().numpy()
    np.testing.assert_allclose(prediction.over_time, expected, atol=1e-5)
    np.testing.assert_allclose(list(prediction.probabilities.values()), expected.mean(0), atol=1e-5)
    assert list(prediction.best(2).values()) == sorted(prediction.probabilities.values(), reverse=True)[:2]
    with pytest.raises(AttributeError, match=r"take \.probabilities"):
        _ = prediction.values
    tokens = encoder.embed(noise(12), RATE, ["block_00", "block_01"])
    assert {name: one.shape for name, one in tokens.items()} == dict.fromkeys(network.layer_names, (2, 3, 32))


def test_int16_tensors_other_rates_and_channels_mean_the_same(network):
    encoder = Encoder.of(network, device="cpu")
    mono = noise(6)
    usual = encoder.predict(mono, RATE).whole
    assert encoder.predict(torch.from_numpy(mono).bfloat16(), RATE).over_time.shape == (1, 3)
    for other in (torch.from_numpy(mono), np.stack([mono, mono]), np.rint(mono * 32768).astype(np.int16)):
        np.testing.assert_allclose(encoder.predict(other, RATE).whole, usual, atol=1e-3)
    assert encoder.predict(noise(6, 44_100, 2), 44_100).over_time.shape == (1, 3)


def test_a_short_recording_is_seen_as_it_is_or_in_silence(network, toy):
    encoder = Encoder.of(network, device="cpu")
    short = encoder.predict(noise(0.5), RATE)
    assert short.window == pytest.approx(26 / 62.5)  # 33 frames, two whole patches
    assert encoder.embed(noise(0.5), RATE)["block_01"].shape == (1, 3, 32)
    with pytest.raises(UserError, match="at least 16 are needed"):
        encoder.predict(noise(0.1), RATE)
    assert toy.predict(noise(0.1, 8000), 8000).window == pytest.approx(79 * 100 / 8000)


def test_ten_minutes_are_all_their_windows(toy):
    prediction = toy.predict(noise(600, 8000), 8000)
    assert prediction.times.tolist() == list(range(600))
    np.testing.assert_allclose(prediction.whole, prediction.over_time.mean(0, dtype=np.float64), rtol=1e-6)


def test_audio_that_is_none_is_refused(network):
    encoder = Encoder.of(network, device="cpu")
    for audio, message in (
        (np.zeros(0, np.float32), "not empty"),
        (np.zeros((20_000, 2), np.float32), r"of shape \[20000, 2\]: .* as soundfile reads it, give audio\.T"),
        (np.full(20_000, np.nan, np.float32), "NaN"),
        (np.full(20_000, 9000.0, np.float32), "far over full scale"),
        (np.zeros(20_000, np.int64), "int64"),
        ("song.mp3", r"song\.mp3.*give samples, not a path"),
    ):
        with pytest.raises(AudioError, match=message):
            encoder.predict(audio, RATE)
    with pytest.raises(AudioError, match="rate=0"):
        encoder.predict(noise(6), 0)


def test_no_beats_are_in_silence_whatever_the_network_hears(monkeypatch):
    monkeypatch.setattr(Clicks, "forward", lambda self, x: 5.0 + 0.0 * self.embed(x, ["steps"])["steps"])
    for decoder in DECODERS:
        task = build("beats").decoded_by(Decoding(decoder))
        encoder = Encoder.of(Clicks(), ClickLevels(), task, device="cpu")
        assert len(encoder.predict(noise(9.0, 8000), 8000).events)
        for silence in (np.zeros(72_000, np.float32), np.zeros((2, 72_000), np.int16), torch.zeros(72_000)):
            prediction = encoder.predict(silence, 8000)
            assert len(prediction.events) == 0
            assert len(prediction.over_time) > 400


def test_channels_that_cancel_each_other_are_not_silence(network):
    encoder, audio = Encoder.of(network, device="cpu"), noise(6)
    both = encoder.predict(np.stack([audio, -audio]), RATE).whole
    np.testing.assert_array_equal(both, encoder.predict(audio, RATE).whole)


def test_joins_are_those_of_the_windows(network):
    genre = Encoder.of(network, task=build("genre", classes=LABELS), device="cpu")
    mean, largest, votes = (genre.predict(noise(16), RATE, join=how) for how in ("mean", "max", "vote"))
    assert len(mean.over_time) == 3
    np.testing.assert_array_equal(largest.whole, mean.over_time.max(0))
    np.testing.assert_array_equal(votes.whole, np.eye(3)[mean.over_time.argmax(1)].mean(0))
    with pytest.raises(UserError, match=r"cannot be joined by vote\. Valid: mean, max"):
        Encoder.of(network, device="cpu").predict(noise(6), RATE, join="vote")


def test_a_precision_that_does_not_exist_is_refused_and_not_taken_for_float32(network):
    with pytest.raises(InputError, match="precision=fp16: give auto, 32-true, bf16-mixed or 16-mixed"):
        Encoder.of(network, device="cpu", precision="fp16").predict(noise(6), RATE)


def test_layers_windows_and_joins_that_do_not_exist_are_named(network):
    encoder = Encoder.of(network, device="cpu")
    with pytest.raises(UserError, match=r"layer 'block_7'.*\(maest\) has the layers block_00, block_01"):
        encoder.embed(noise(6), RATE, "block_7")
    with pytest.raises(InputError, match=r"takes up to 312 frames; .*set it to 4\.992 or less"):
        encoder.predict(noise(6), RATE, seconds=6)
    with pytest.raises(InputError, match=r"3 frames, this network needs at least 16; set it to 0\.26 or more"):
        encoder.predict(noise(6), RATE, seconds=0.05)
    with pytest.raises(UserError, match="join"):
        encoder.predict(noise(6), RATE, join="median")


def test_a_network_of_ones_own_with_a_learned_front_end(toy, tmp_path):
    file = tmp_path / "toy.safetensors"
    with torch.no_grad():
        toy.frontend.gains.mul_(2)
    save_network(file, toy.network, toy.description, toy.frontend)
    with pytest.raises(CheckpointError, match=r"add model\.network"):
        Encoder.load(str(file), device="cpu")
    again = Encoder.load(str(file), allowed=TOYS, device="cpu")
    audio = noise(5, 8000)
    assert again.windowing().rows == 79 * 100
    np.testing.assert_allclose(again.predict(audio, 8000).over_time, toy.predict(audio, 8000).over_time, atol=1e-6)
    assert again.embed(audio, 8000)["clip"].shape == (5, 1, 6)
    x = torch.from_numpy(audio[: 79 * 100])
    frames = (again.frontend(x)[None] - again.mean) / (2 * again.std)
    with torch.no_grad():
        expected = torch.sigmoid(again.network(frames))
    np.testing.assert_allclose(again.predict(audio, 8000).over_time[:1], expected.numpy(), atol=1e-6)


def test_a_task_of_ones_own_is_imported_where_its_module_is_named(toy, tmp_path, monkeypatch):
    (tmp_path / "my_task.py").write_text(
        "from experiments.tasks import Tagging\n\n\nclass Mine(Tagging):\n    name = 'mine'\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    task = __import__("my_task").Mine(LABELS)
    encoder = Encoder.of(toy.network, task=task, input="audio", window=80, device="cpu")
    assert type(encoder.task) is type(task)
    file = tmp_path / "toy.safetensors"
    save_network(file, encoder.network, encoder.description, encoder.frontend)
    expected = encoder.predict(noise(2, 8000), 8000).probabilities
    again = Encoder.load(str(file), allowed={*TOYS, "my_task"}, device="cpu")
    assert again.predict(noise(2, 8000), 8000).probabilities == expected
    with pytest.raises(UserError, match=r"my_task:Mine.*add datamodule\.task=.*in Python: allowed={'my_task'}"):
        _ = Encoder.load(str(file), allowed=TOYS, device="cpu").task


def test_overlapping_windows_of_audio_begin_at_half(toy):
    times = toy.predict(noise(5, 8000), 8000, overlapped=True).times
    np.testing.assert_allclose(np.diff(times), 40 * 100 / 8000)


def test_a_front_end_that_makes_something_else_now_is_not_taken(toy, tmp_path):
    about = {**toy.description, "frontend": {**Levels().description, "fingerprint": "0123456789abcdef"}}
    save_network(tmp_path / "toy.safetensors", toy.network, about)
    with pytest.raises(CheckpointError, match="trained on features 0123456789abcdef"):
        Encoder.load(str(tmp_path / "toy.safetensors"), allowed=TOYS)


def test_what_stores_of_maest_say_of_their_encoder_stays(network):
    encoder = Encoder.of(network, device="cpu")
    assert encoder.identity == {
        "network": network.hyperparameters,
        "frontend": MusiCNNMel().fingerprint,
        "normalisation": [MusiCNNMel().mean, MusiCNNMel().std],
    }
    assert encoder.fed(True).identity["input"] == "audio"


@pytest.mark.parametrize(("entry", "value"), [("input", "mel"), ("window", 0), ("window", "80"), ("input", ["audio"])])
def test_entries_of_a_file_that_cannot_be_are_named(network, tmp_path, entry, value):
    save_network(tmp_path / "net.safetensors", network, {entry: value})
    with pytest.raises(CheckpointError, match=f"{entry} is .*, expected"):
        Encoder.load(str(tmp_path / "net.safetensors"))


THRESHOLDS = {"tags": LABELS, "values": [0.2, 0.9, 0.4], "global": 0.3, "split": "valid", "tracks": 12}


def test_thresholds_of_a_checkpoint_select_the_tags(network, tmp_path):
    file = tmp_path / "net.safetensors"
    save_network(file, network, {"labels": LABELS, "task": "tagging", "thresholds": THRESHOLDS}, MusiCNNMel())
    encoder = Encoder.load(str(file), device="cpu")
    prediction = encoder.predict(noise(12), RATE)
    assert prediction.thresholds == dict(zip(LABELS, THRESHOLDS["values"], strict=True))
    expected = {label for label, value in prediction.probabilities.items() if value >= prediction.thresholds[label]}
    assert set(prediction.selected) == expected or prediction.below_thresholds
    save_network(tmp_path / "again.safetensors", encoder.network, encoder.description, encoder.frontend)
    assert Encoder.load(str(tmp_path / "again.safetensors"), device="cpu").thresholds == encoder.thresholds
    (tmp_path / "names.txt").write_text("x\ny\nz\n")
    renamed = Encoder.load(str(file), labels=str(tmp_path / "names.txt"), device="cpu")
    assert (renamed.thresholds.tags, renamed.thresholds.values) == (("x", "y", "z"), encoder.thresholds.values)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tags": ["a", "c", "b"]}, r"entry thresholds is for other tags: tag 1 is 'c' there, and 'b'"),
        ({"values": [0.2, 0.9]}, "thresholds is .* expected tags, a value from 0 to 1 for each"),
        ({"values": [0.2, 1.9, 0.1]}, "thresholds is .* expected tags, a value from 0 to 1 for each"),
    ],
)
def test_thresholds_of_other_outputs_are_refused(network, tmp_path, wrong, message):
    file = tmp_path / "net.safetensors"
    about = {"labels": LABELS, "task": "tagging", "thresholds": {**THRESHOLDS, **wrong}}
    save_network(file, network, about, MusiCNNMel())
    with pytest.raises(CheckpointError, match=message):
        Encoder.load(str(file), device="cpu")


def test_without_thresholds_the_usual_one_selects(toy):
    assert (toy.thresholds, toy.selection.thresholds) == (None, (0.25,) * 3)
    genre = Encoder.of(Toy(3), task=build("genre", classes=LABELS), input="audio", window=80, device="cpu")
    assert (len(genre.predict(noise(2, 8000), 8000).selected), genre.selection.rule) == (1, "argmax")
