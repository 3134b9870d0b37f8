"""Length and places of windows, in frames of features and in samples of audio."""

from __future__ import annotations

import pytest

from datasets.windows import Plan
from experiments.encoder import Encoder
from experiments.errors import UserError
from experiments.windowing import Windowing, consecutive
from models.errors import InputError
from models.fcn import FCN
from models.frontends import MusiCNNMel
from tests.models.toys import Toy

USUAL = Windowing(1813, Plan(464_000, 464_000), 16_000, 256)


class Fixed(FCN):
    """Takes windows of its own length alone."""

    fixed_window = True


@pytest.fixture(scope="module")
def tagger() -> Encoder:
    return Encoder.of(FCN(channels=[2] * 5), device="cpu")


def test_windows_of_audio_lie_where_those_of_features_do():
    frontend = MusiCNNMel()
    audio = consecutive(Toy(3), frontend, True, 100)
    assert frontend.n_frames(audio.rows) == audio.frames == audio.hop_frames == 100
    assert (audio.plan.hop, audio.step, audio.rate) == (100 * frontend.hop, frontend.hop, frontend.sample_rate)
    assert consecutive(Toy(3), frontend, False, 100) == Windowing(100, Plan(100, 100), frontend.frame_rate)


def test_a_length_in_samples_is_kept_exactly(tagger):
    assert tagger.windowing() == USUAL
    assert USUAL.hop_frames == 1812.5
    assert tagger.windowing_of(29).rows == tagger.windowing_of(29.01).rows == 464_000


def test_a_tagger_takes_other_lengths_from_its_shortest_input_on(tagger):
    longer = tagger.windowing_of(41, stored=True)
    assert (longer.frames, longer.rows, longer.hop_frames) == (2562, 2561 * 256, 2562)
    with pytest.raises(InputError, match=r"1250 frames, this network needs at least 1280; set it to 20\.48 or more"):
        tagger.windowing_of(20)
    assert tagger.windowing_of(20.48).frames == 1280
    fixed = Encoder.of(Fixed(channels=[2] * 5), device="cpu")
    with pytest.raises(InputError, match="takes windows of 29 s; leave it out"):
        fixed.windowing_of(41)


def test_places_are_those_that_are_asked_for_and_records_say_which(tagger):
    assert tagger.windowing_of().record == {"window_frames": 1813, "windows": "spread"}
    assert tagger.windowing_of(windows=16).record == {"window_frames": 1813, "windows": 16}
    assert tagger.windowing_of(overlapped=True).record == {"window_frames": 1813, "hop_frames": 906.25}
    by_hop = tagger.windowing_of(hop=1.5)
    assert by_hop.plan == Plan(464_000, 24_000, to_end=True)
    assert by_hop.record == {"window_frames": 1813, "hop_frames": 93.75, "last_window": "at the end"}
    assert tagger.windowing_of(hop=1.5, stored=True).record == {"window_frames": 1813, "hop_frames": 93.75}
    toy = Encoder.of(Toy(3), window=80, device="cpu")
    assert toy.windowing_of().record == {"window_frames": 80, "hop_frames": 80}
    assert toy.windowing_of(windows=3).plan == Plan(80, count=3)


def test_training_validates_the_centre_unless_windows_are_spread(tagger):
    assert USUAL.validation == Plan(464_000, count=1)
    assert tagger.windowing_of().validation == Plan(464_000)
    assert tagger.windowing_of(hop=1.5).validation == Plan(464_000, 24_000, to_end=True)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({"windows": 2, "hop": 1.0}, r"windows=2 and hop=1\.0: .*give one of them"),
        ({"windows": 2, "overlapped": True}, "windows=2 and half_overlapped_inference=True"),
        ({"hop": 1e-6}, "give 6.3e-05 s or more"),
        ({"windows": 2, "stored": True}, "a store holds windows at one distance.*give the distance, inference.hop"),
    ],
)
def test_places_that_cannot_be_are_refused(tagger, places, message):
    with pytest.raises(UserError, match=message):
        tagger.windowing_of(**places)
