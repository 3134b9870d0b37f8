"""The front end of a training: the network's own, with arguments of the user, or that of the weights to start from."""

from __future__ import annotations

import pytest
import torch

from experiments.configs.catalogue import TRANSFER
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.networks.initial import frontend_from, initial
from experiments.tasks import build as build_task
from experiments.tracking import overrides
from experiments.transfer.settings import TransferSettings
from models import networks
from models.checkpoints import save_network
from models.fcn import FCN
from models.frontends import build
from models.network_input import own_frontend
from tests.models.taggers import published_layout

BANDS = "model.frontend_arguments.bands"
TASK = build_task("tagging", classes=["a", "b"])


def started(*words: str) -> Encoder:
    """What a training with these words begins with."""
    settings = overrides.compose(TransferSettings, TRANSFER, words).settings
    return initial(settings, frontend_from(settings.model), TASK)


@pytest.fixture
def published(tmp_path):
    """A file in the layout of Won et al., of a network of 128 bands."""
    file, state = tmp_path / "best_model.pth", published_layout(FCN())
    torch.save({**state, "spec.mel_scale.fb": build("mel_db", bands=128).filters}, file)
    return file


@pytest.mark.parametrize("name", ["fcn", "crnn", "musicnn", "cnn14", "spectnt"])
def test_other_bands_are_a_setting_that_checkpoints_keep(name, tmp_path):
    made = started(name, "debug", f"{BANDS}=64" if name == "spectnt" else f"{BANDS}=128")
    own = own_frontend(networks.find(name))
    assert made.frontend.arguments == {**own.arguments, "bands": 64 if name == "spectnt" else 128}
    save_network(tmp_path / "best.safetensors", made.network, made.description)
    loaded = Encoder.load(str(tmp_path / "best.safetensors"))
    assert loaded.frontend.fingerprint == made.frontend.fingerprint
    assert loaded.predict(torch.randn(32_000), 16_000).whole.shape == (2,)
    words = (name, "debug", f"model.checkpoint={tmp_path / 'best.safetensors'}")
    assert started(*words).frontend.fingerprint == made.frontend.fingerprint


def test_published_weights_bring_their_front_end(published):
    assert started("fcn", f"model.checkpoint={published}").frontend.arguments["bands"] == 128
    assert started("fcn", f"model.checkpoint={published}", f"{BANDS}=128").frontend.arguments["bands"] == 128


@pytest.mark.parametrize("words", [[f"{BANDS}=96"], ["model.frontend=mel_db"]])
def test_weights_of_another_front_end_are_refused(published, words):
    with pytest.raises(UserError, match=r"made for bands=128, these have bands=96; leave out model\.frontend"):
        started("fcn", f"model.checkpoint={published}", *words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["fcn", "model.frontend_arguments.band=128"],
            r"band=128: no argument of MelDecibels; there are: .*n_fft, .*bands",
        ),
        (["fcn", "model.frontend=waveform", f"{BANDS}=9"], "bands=9: no argument of Waveform; there are: sample_rate"),
        (["fcn", f"{BANDS}=many"], "bands=many: should be a valid integer"),
        (["fcn", f"{BANDS}=0"], "bands=0: should be greater than 0"),
        (["fcn", "model.frontend_arguments.high=9000.0"], "from 0 to 9000 Hz at 16000 Hz"),
        (["fcn", "model.checkpoint=gone", "model.frontend=mel_db", f"{BANDS}=x"], "bands=x"),
        (["model.network=None", f"{BANDS}=9"], "no network is named"),
    ],
)
def test_mistakes_are_named_with_what_there_is(words, said):
    with pytest.raises(UserError, match=said):
        overrides.compose(TransferSettings, TRANSFER, words)


def test_a_whole_number_is_the_float_that_it_stands_for():
    """Features of one front end have one fingerprint, however its settings are written."""
    high = "model.frontend_arguments.high="
    for words in (["fcn"], ["fcn", "model.frontend=mel_db"]):
        whole, real = (started(*words, high + value).frontend for value in ("7000", "7000.0"))
        assert whole.fingerprint == real.fingerprint != started(*words).frontend.fingerprint
        assert isinstance(whole.arguments["high"], float)
    assert started("fcn", f"{BANDS}=96").frontend.fingerprint == started("fcn").frontend.fingerprint


def test_mistakes_beside_a_checkpoint_too(published):
    with pytest.raises(UserError, match=r"model\.frontend_arguments: band=128: no argument of MelDecibels; there are"):
        started("fcn", f"model.checkpoint={published}", "model.frontend_arguments.band=128")


def test_the_window_is_that_of_the_network_and_not_of_its_class(tmp_path):
    """At 8 kHz, as SampleCNN is published for."""
    words = ("samplecnn", "debug", "model.strides=[3,3,3,3,3,3,3,2,2]", "model.frontend_arguments.sample_rate=8000")
    made = started(*words)
    assert made.network.window == 3**8 * 4
    assert "window" not in made.description
    save_network(tmp_path / "best.safetensors", made.network, made.description)
    loaded = Encoder.load(str(tmp_path / "best.safetensors"))
    assert loaded.window == loaded.windowing_of().frames == 26_244
    again = started(*words, "datamodule.clip_length=3.2805")
    assert "window" not in again.description
