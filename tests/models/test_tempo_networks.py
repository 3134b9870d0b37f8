"""Networks for tempo: parameters as published, any image by any network, files of others, and torchvision's own."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import mobilenet_v2

from experiments.encoder import Encoder
from models import networks
from models.checkpoints import initialise, load_checkpoint, save_network
from models.frontends import build
from models.inputs import Inputs
from models.network import Network
from models.network_input import default_window, own_frontend
from models.tempo_cnn import TempoCNN
from models.tempo_cnn14 import PUBLISHED, TempoCNN14
from models.tempo_image import TempoImage
from models.tempo_lags import OCTAVES, SLOWEST, STEPS
from models.tempo_mobilenet import STEM, TempoMobileNet
from tests.models.pulses import pulses
from tests.models.taggers import with_statistics

NAMES = ("tempo_mobilenet", "tempo_cnn14", "tempo_cnn", "tempo_lags")
SMALL = {
    "tempo_mobilenet": {"features": "tempogram_band", "width": 0.1},
    "tempo_cnn14": {"features": "tempogram_band", "channels": (4, 4, 4, 8, 8, 8)},
    "tempo_cnn": {"k": 2},
    "tempo_lags": {"channels": 4, "n_classes": 256},
}
WINDOWS = {"tempo_cnn": 256, "tempo_lags": 1025}
BANDS = {"sample_rate": 22_050, "n_fft": 2048, "hop": 512, "bands": 64, "scale": "slaney", "norm": "area"}


def small(name: str, **arguments) -> Network:
    torch.manual_seed(0)
    return with_statistics(networks.find(name)(**{"n_classes": 5, **SMALL[name], **arguments}))


def trainable(kind: type[Network], **arguments) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in kind(**arguments).parameters())


def test_parameters_are_those_of_the_publications():
    assert trainable(TempoMobileNet, repeat=True) == 2_225_153
    assert trainable(TempoMobileNet) == 2_224_577
    assert trainable(TempoCNN14, features="logmel", bands=64) == 75_479_489
    assert trainable(TempoCNN14) == 75_480_129
    for filters, k, count in (("shallow", 6, 688_792), ("square", 8, 309_240), ("deep", 8, 89_560)):
        state = TempoCNN(filters=filters, k=k).state_dict()  # which counts the statistics of batch norm, too
        assert sum(tensor.numel() for key, tensor in state.items() if "num_batches" not in key) == count


@pytest.mark.parametrize("name", ["tempo_mobilenet", "tempo_cnn14"])
@pytest.mark.parametrize("features", ["tempogram", "tempogram_band", "onset", "logmel"])
def test_every_network_takes_every_image_of_any_length(name, features):
    for bands in (0, 64):
        if features == "logmel" and not bands:
            with pytest.raises(ValueError, match=r"features=logmel.*set model\.frontend=mel_db"):
                small(name, features=features, bands=bands)
            continue
        network = small(name, features=features, bands=bands)
        for frames in (32, 150):
            x = torch.rand(2, frames, *([bands] if bands else []))
            assert network(x).shape == (2, 5)
        network.train()(x).sum().backward()
        assert network(torch.zeros_like(x)).isfinite().all()


def test_the_shapes_are_those_of_the_specification():
    network = small("tempo_mobilenet", features="tempogram", width=1.0)
    x = torch.rand(1, 513)
    with torch.no_grad():
        cells = network.run_layers(x, network.layer_names)
    shapes = {0: (32, 192, 257), 1: (16, 192, 257), 3: (24, 96, 129), 6: (32, 48, 65), 18: (1280, 12, 17)}
    assert {number: tuple(cells[f"block{number}"].shape[1:]) for number in shapes} == shapes
    network = small("tempo_cnn14", features="logmel", bands=64)
    with torch.no_grad():
        cells = network.run_layers(torch.rand(1, 257, 64), network.layer_names)
    assert cells["conv_block6"].shape[2:] == (8, 2)


@pytest.mark.parametrize("name", NAMES)
def test_windows_are_of_twelve_seconds_and_short_recordings_stay_as_they_are(name):
    network = small(name)
    frontend = own_frontend(network)
    assert default_window(network, frontend) == WINDOWS.get(name, 513)
    assert network.unpadded(300) == 300
    with pytest.raises(ValueError, match=f"needs at least {network.min_frames}"):
        network.unpadded(network.min_frames - 1)
    encoder = Encoder.of(network)
    audio = torch.from_numpy(pulses(120.0, 4.0))
    with torch.no_grad():
        expected = encoder.task.decode(
            network(frontend.settle(frontend.local(resampled(audio, frontend)))[None].half().float())
        )
    assert abs(encoder.predict(resampled(audio, frontend), frontend.sample_rate).whole - expected[0]).max() < 1e-5


def resampled(audio: torch.Tensor, frontend) -> torch.Tensor:
    return audio if frontend.sample_rate == 22_050 else audio[::2].contiguous()


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_saved_prepared_and_frozen_by_depth(name, tmp_path):
    network = small(name)
    x = torch.rand(2, 300, *own_frontend(network).item_shape)
    labels = [str(number) for number in range(network.n_classes)]
    save_network(tmp_path / "net.safetensors", network, {"task": "tagging", "labels": labels}, own_frontend(network))
    again = load_checkpoint(tmp_path / "net.safetensors").network
    layers = network.parameter_layers()
    with torch.no_grad():
        assert torch.equal(again(x), network(x))
        torch.testing.assert_close(network.prepared()(x), network(x), rtol=1e-4, atol=1e-5)
    assert sorted(key for layer in layers for key in layer) == sorted(key for key, _ in network.named_parameters())
    assert all(key.startswith(network.head_prefixes) for key in layers[-1])
    assert network.embed(x, [network.default_layer])[network.default_layer].shape[:2] == (2, 1)


def test_a_faster_piece_is_the_same_further_up_the_axis():
    """Up to the resolution of frames; so does what the network makes of it, but for the bias of each tempo."""
    network = small("tempo_lags")
    frontend = own_frontend(network)
    at = {bpm: network.stem(frontend(torch.from_numpy(pulses(bpm, 11.888)))[None])[0, -1] for bpm in (80.0, 113.137)}
    moved = torch.corrcoef(torch.stack([at[80.0][:-STEPS], at[113.137][STEPS // 2 : -STEPS // 2]]))[0, 1]
    unmoved = torch.corrcoef(torch.stack([at[80.0], at[113.137]]))[0, 1]
    assert moved > 0.8
    assert unmoved < 0.5
    logits = network.scale(torch.zeros(1, 4, STEPS * OCTAVES))
    assert logits.shape == (1, 256)
    with torch.no_grad():
        network.scale.bias.copy_(torch.arange(STEPS * OCTAVES) / STEPS)
        network.scale.values.bias.zero_()
    tempi = SLOWEST * torch.exp2(network.scale(torch.zeros(1, 4, STEPS * OCTAVES)))
    torch.testing.assert_close(tempi[0], torch.arange(30.0, 286.0), rtol=1e-4, atol=0)


def test_a_network_of_tempi_has_no_other_outputs():
    with pytest.raises(ValueError, match=r"1 outputs.*datamodule\.task=tempo alone"):
        small("tempo_lags", n_classes=1)
    with pytest.raises(ValueError, match="makes 4 bands"):
        small("tempo_lags", bands=4)


def test_mobilenet_is_that_of_torchvision():
    theirs = with_statistics(mobilenet_v2())
    network = TempoMobileNet(n_classes=1000, features="logmel", bands=40, repeat=True, time_masks=0).eval()
    network.load_state_dict(network.from_published(theirs.state_dict())[1])
    x = torch.rand(2, 50, 40)
    with torch.no_grad():
        torch.testing.assert_close(network(x), theirs(x[:, None].expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


def test_weights_of_images_are_started_from_with_one_channel(tmp_path):
    theirs = with_statistics(mobilenet_v2())
    torch.save(theirs.state_dict(), tmp_path / "mobilenet_v2.pth")
    network = TempoMobileNet(n_classes=7)
    report = initialise(network, tmp_path / "mobilenet_v2.pth")
    assert report.adapted == {STEM: "sum over the three channels of an image"}
    assert report.reinitialised == ["model.classifier.weight", "model.classifier.bias"]
    x = torch.rand(1, 1, 40, 50)
    with torch.no_grad():
        one, three = network.eval().model.features(x), theirs.features(x.expand(-1, 3, -1, -1))
    torch.testing.assert_close(one, three, rtol=1e-4, atol=1e-4)


def reference_file(network: Network) -> dict[str, torch.Tensor]:
    """What a file of the reference holds: a front end as frozen convolutions besides."""
    frozen = {"spectrogram_extractor.stft.conv_real.weight": torch.zeros(1025, 1, 2048)}
    frozen |= {"logmel_extractor.melW": torch.zeros(1025, 64)}
    return frozen | network.state_dict()


def test_files_of_the_reference_tell_what_they_are_of(tmp_path):
    given = {"features": "logmel", "bands": 64, "channels": (4, 4, 4, 8, 8, 8), "n_classes": 1}
    network = with_statistics(TempoCNN14(**given))
    torch.save(reference_file(network), tmp_path / "cnn14.pt")
    found = load_checkpoint(tmp_path / "cnn14.pt")
    assert type(found.network) is TempoCNN14
    assert found.frontend.description == build("mel_db", **PUBLISHED).description
    x = torch.rand(1, 257, 64)
    with torch.no_grad():
        assert torch.equal(found.network(x), network(x))
    of_lags = with_statistics(TempoCNN14(channels=(4, 4, 4, 8, 8, 8)))
    assert TempoCNN14.from_published(of_lags.state_dict())[0]["features"] == "tempogram"
    small_one = TempoMobileNet(repeat=True)
    torch.save(
        {"state_dict": {f"model.{key}": one for key, one in reference_file(small_one).items()}}, tmp_path / "m.pt"
    )
    assert load_checkpoint(tmp_path / "m.pt").network.hyperparameters["repeat"]


def test_in_training_time_is_hidden_and_no_lag():
    image = TempoImage("tempogram", masks=2).train()
    torch.manual_seed(3)
    x = torch.rand(4, 513)
    masked, whole = image(x), image.eval()(x)
    changed = (masked - whole).abs().amax(1) > 1e-5
    assert 0 < changed.float().mean() < 2 * 64 / 513
    mean = whole.mean(2)
    for example in range(4):
        for frame in torch.nonzero(changed[example])[:, 0].tolist():
            torch.testing.assert_close(masked[example, :, frame], mean[example], rtol=0, atol=1e-5)


def test_gain_means_nothing_to_a_network_of_scaled_excerpts():
    network, x = small("tempo_cnn"), torch.rand(2, 256, 40)
    with torch.no_grad():
        torch.testing.assert_close(network(0.1 * x), network(x), rtol=1e-4, atol=1e-5)
        assert network(torch.zeros_like(x)).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_exported_needs_no_fourier_transform_and_gives_the_same(name, monkeypatch):
    network = small(name)
    frontend = own_frontend(network)
    form = network.export_form(Inputs(frontend, 0.0, 0.5), [network.default_layer], default_window(network, frontend))
    audio = torch.from_numpy(pulses(120.0, form.samples / frontend.sample_rate, frontend.sample_rate))[None]
    with torch.no_grad():
        expected = form.network(frontend(audio)[:, : form.samples // frontend.hop])
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
        monkeypatch.setattr(torch.fft, "rfft", None)
        logits, _ = form(audio)
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4)
