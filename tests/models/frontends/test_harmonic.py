"""Harmonic filters against their definition, and the gradient that reaches their bandwidth."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from models.frontends import build
from models.frontends.harmonic import HarmonicFilters, notes, raw_of


def noise(samples: int = 6000) -> Tensor:
    """Audio with a quiet half, `[2, samples]`."""
    audio = 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    audio[1] *= 1e-3
    return audio


def triangles(q: float, n_fft: int = 512) -> Tensor:
    """`max(0, 1 - 2 |bin - f| / b)` in float64, of the filters at 16 kHz."""
    low = 440 * 2 ** ((24 + torch.arange(128, dtype=torch.float64) / 2 - 69) / 12)
    centres = torch.cat([low * harmonic for harmonic in range(1, 7)])
    widths = (0.1079 * centres + 24.7) / q
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64)[:, None] * 16_000 / n_fft
    return (1 - 2 * (bins - centres).abs() / widths).clamp(min=0)


@pytest.mark.parametrize("q", [0.3, 1.0, 4.0])
def test_filters_are_triangles_of_a_width_that_grows_with_frequency(q):
    filters = build("harmonic", q=q).filters
    torch.testing.assert_close(filters.double(), triangles(q), rtol=0, atol=5e-5)


def test_there_are_128_notes_with_six_harmonics():
    frontend = build("harmonic")
    assert frontend.item_shape == (6, 128)
    assert frontend.centres[0].item() == pytest.approx(32.703, abs=1e-3)
    assert frontend.centres[-1].item() == pytest.approx(7685.85, abs=1e-2)
    assert (frontend.filters.sum(0) == 0).sum() == 1  # as published, one filter lies between two bins
    assert (build("harmonic", n_fft=1024).filters.sum(0) > 0).all()


def test_a_filter_is_1_at_its_centre_and_0_from_half_a_bandwidth_on():
    frontend = build("harmonic", q=2.0)
    centre = frontend.centres[300]
    half = (0.1079 * centre + 24.7) / 2 / 2
    frontend.bins = torch.stack([centre - half, centre - half / 2, centre, centre + half / 2, centre + half])
    expected = torch.tensor([0, 0.5, 1, 0.5, 0])
    torch.testing.assert_close(frontend.filters[:, 300], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("n_fft", "win_length"), [(512, 512), (1024, 512), (2048, 1024)])
def test_output_is_the_level_of_what_the_filters_pass(n_fft, win_length):
    frontend, audio = build("harmonic", n_fft=n_fft, win_length=win_length), noise()
    window = torch.hann_window(win_length)
    spectrum = torch.stft(audio, n_fft, 256, win_length, window, pad_mode="reflect", return_complex=True)
    power = spectrum.abs().square().transpose(1, 2)
    expected = 10 * torch.log10((power @ frontend.filters).clamp(min=1e-10)).unflatten(2, (6, 128))
    with torch.no_grad():
        frames = frontend(audio)
    assert frames.shape == (2, frontend.n_frames(audio.shape[1]), 6, 128)
    torch.testing.assert_close(frames, expected, rtol=0, atol=1e-3)
    assert frontend(torch.zeros(3000)).unique().tolist() == [frontend.fill] == [-100]


@pytest.mark.parametrize("q", [1e-3, 0.7, 1.0, 1.2345678, 50.0, 1000.0])
def test_q_is_what_it_was_set_to(q):
    frontend = build("harmonic", q=q)
    assert frontend.q.item() == pytest.approx(q, rel=2e-7)
    assert raw_of(q) == pytest.approx(frontend.raw_q.item(), rel=1e-6)
    assert build("harmonic").q.item() == 1


def test_q_stays_above_zero_wherever_the_optimiser_goes():
    frontend = build("harmonic")
    frontend.raw_q.data.fill_(-20.0)
    assert frontend.q.item() > 0
    assert frontend(noise()).isfinite().all()


def test_the_gradient_reaches_q_and_is_that_of_finite_differences():
    frontend, audio = build("harmonic", q=0.8), noise()
    weights = torch.randn(6, 128, generator=torch.Generator().manual_seed(2))

    def level(raw: Tensor) -> Tensor:
        moved = copy.deepcopy(frontend)
        moved.raw_q.data.copy_(raw)
        with torch.no_grad():
            return (moved(audio) * weights).double().mean()

    (frontend(audio) * weights).mean().backward()
    step = 1e-3
    slope = (level(frontend.raw_q + step) - level(frontend.raw_q - step)) / (2 * step)
    assert frontend.raw_q.grad.item() == pytest.approx(slope.item(), rel=0.05)


def test_it_has_one_parameter_or_none():
    assert [(name, len(tensor)) for name, tensor in build("harmonic").state_dict().items()] == [("raw_q", 1)]
    fixed = build("harmonic", learn_q=False, q=0.5)
    assert not fixed.state_dict()
    assert not list(fixed.parameters())
    learned = build("harmonic", q=0.5)
    assert torch.equal(fixed(noise()), learned(noise()).detach())
    assert fixed.fingerprint != learned.fingerprint


def test_everything_moves_with_it_and_a_copy_has_what_was_learned():
    frontend = build("harmonic")
    assert frontend.bfloat16().filters.dtype == torch.bfloat16
    assert copy.deepcopy(frontend).to("meta").filters.device.type == "meta"
    frontend = build("harmonic")
    frontend.raw_q.data.fill_(2.0)
    again = build("harmonic")
    again.load_state_dict(frontend.state_dict())
    assert torch.equal(again(noise()), frontend(noise()))


def test_it_computes_in_float32_inside_of_autocast_and_refuses_to_be_cast():
    frontend = build("harmonic")
    with torch.autocast("cpu", torch.bfloat16):
        frames = frontend(noise())
    assert torch.equal(frames, frontend(noise()))
    with pytest.raises(ValueError, match="cast the network only"):
        frontend.bfloat16()(noise())


def test_the_form_for_export_has_what_was_learned():
    frontend = build("harmonic", q=1.7)
    frontend.raw_q.data.add_(0.3)
    audio = noise(6144)
    torch.testing.assert_close(frontend.exportable()(audio), frontend(audio).detach(), rtol=0, atol=5e-3)


def test_other_scales_make_other_shapes():
    frontend = build("harmonic", sample_rate=22_050, harmonics=4, semitone_scale=3, n_fft=2048, hop=441)
    assert frontend.item_shape == (4, (101 - 24) * 3)  # below F7, the note nearest to 22050 / 8 Hz
    assert frontend(noise()).shape == (2, 14, *frontend.item_shape)
    assert notes(16_000, 6, 1)[12] == pytest.approx(2 * notes(16_000, 6, 1)[0])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"q": 0.0}, "q above 0"),
        ({"win_length": 600}, "win_length <= n_fft"),
        ({"harmonics": 0}, "harmonics=0.*at least 1"),
        ({"harmonics": 300}, "take fewer harmonics"),
    ],
)
def test_arguments_that_make_no_filters_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        HarmonicFilters(**arguments)
