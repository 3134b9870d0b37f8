"""Features of a file in chunks are those of the whole file, whatever the front end."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.frontends import FrontEnd, build, names
from models.frontends.mel import MelFrontEnd, hann, mel_filters
from preprocess import pieces
from preprocess.features import transform
from tests.models.toys import Levels


class Spectra(MelFrontEnd):
    """Energies of bands, with frames of any length and hop."""

    sample_rate = 16_000

    def __init__(self, n_fft: int, hop: int, reflect: bool, past_end: bool) -> None:
        super().__init__(hann(n_fft), mel_filters(16_000, n_fft, 6, scale="htk", norm="none"))
        self.hop, self.reflect, self.past_end = hop, reflect, past_end

    def compress(self, mel):
        return mel.sqrt()


class Long(FrontEnd):
    """Sums of what is around a sample, of audio that must be longer than that."""

    sample_rate, hop, context, min_samples = 16_000, 3, 20, 500

    def forward(self, audio):
        self.check(audio)
        padded = torch.nn.functional.pad(audio, (20, 21))
        return padded.unfold(-1, 41, 3).sum(-1)


def in_chunks(audio: np.ndarray, sizes: list[int], chunk: int, frontend: FrontEnd) -> torch.Tensor:
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(pieces, "CHUNK", chunk)
        return torch.cat(list(transform(np.split(audio, np.cumsum(sizes)[:-1]), frontend)))


def check(frontend: FrontEnd, data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(0, 3000), min_size=1, max_size=8))
    sizes[-1] += max(frontend.min_samples - sum(sizes), 0)
    audio = np.random.default_rng(sum(sizes)).standard_normal(sum(sizes)).astype(np.float32)
    made = in_chunks(audio, sizes, data.draw(st.integers(1, 700)), frontend)
    with torch.no_grad():
        whole = frontend(torch.from_numpy(audio))
    assert len(made) == frontend.n_frames(len(audio))
    torch.testing.assert_close(made, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("past_end", [False, True])
@pytest.mark.parametrize("reflect", [False, True])
@pytest.mark.parametrize(("n_fft", "hop"), [(512, 256), (2048, 512), (1024, 128), (400, 160), (256, 300)])
@given(data=st.data())
@settings(max_examples=20)
def test_frames_of_any_length_and_padding(n_fft, hop, reflect, past_end, data):
    check(Spectra(n_fft, hop, reflect, past_end), data)


@pytest.mark.parametrize("name", [*names(), "levels", "long"])
@given(data=st.data())
@settings(max_examples=20)
def test_every_front_end(name, data):
    check({"levels": Levels, "long": Long}[name]() if name in ("levels", "long") else build(name), data)
