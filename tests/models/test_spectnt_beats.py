"""SpecTNT for beats: its size and shapes, what it does with time, and that it learns where clicks are."""

from __future__ import annotations

import mir_eval
import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datasets.time_grid import TimeGrid
from models.errors import InputError
from models.frontends import build
from models.inputs import Inputs
from models.network_input import default_window, own_frontend
from models.spectnt import Start
from models.spectnt_beats import SpecTNTBeats
from tests.models.taggers import with_statistics

REPO = {"channels": 256, "dim": 128, "ratio": 1.0, "pools": ((2, 2), (2, 2), (2, 1))}
SIZE = {"harmonics": 2, "notes": 16, "channels": 8, "dim": 16, "blocks": 2, "spectral_heads": 2, "temporal_heads": 2}


def small(**arguments: object) -> SpecTNTBeats:
    """Every parameter random, also those that a new network has at zero."""
    torch.manual_seed(0)
    network = with_statistics(SpecTNTBeats(**{**SIZE, **arguments}))
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network


def levels(frames: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, frames, 2, 16, generator=torch.Generator().manual_seed(1))


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"ratio": 1.0}, 2_464_911),
        ({}, 4_558_671),
        ({"channels": 96, "dim": 96}, 1_640_655),
        ({"channels": 128}, 6_026_639),
    ],
)
def test_parameters(arguments, expected):
    assert size(SpecTNTBeats(n_classes=3, **arguments)) == expected


def test_the_wide_front_end_is_that_of_the_repository():
    network = SpecTNTBeats(n_classes=3, **REPO)
    assert size(network.start.units) + size(network.norm) == 2_982_156
    assert network.pool == 4
    with torch.no_grad():
        rows, _ = Start(6, 128, 8, 16, REPO["pools"], class_token=False)(torch.randn(1, 6, 128, 313))
    assert rows.shape == (1, 78, 17, 8)


def test_fifty_steps_a_second_in_windows_of_half_a_minute():
    network, frontend = SpecTNTBeats(), own_frontend(SpecTNTBeats)
    grid = TimeGrid(frontend.frame_rate, network.pool)
    assert (grid.rate, grid.offset) == (50.0, 0.005)
    assert default_window(network, frontend) == 3000
    assert default_window(network, frontend) % network.pool == network.margin % network.pool == 0
    assert network.derive(frontend, 3000, 2) == {"n_classes": 2, "harmonics": 6, "notes": 128}
    with pytest.raises(InputError, match=r"makes frames of shape \[96\]"):
        network.derive(build("mel_db"), 3000, 2)


@pytest.mark.parametrize("seconds", [0.3, 5.0, 7.3, 60.0])
def test_the_same_weights_take_any_length_of_audio(seconds):
    frontend = build("harmonic", hop=160, n_fft=1024, harmonics=2, semitone_scale=1)
    network = small(notes=frontend.item_shape[1])
    with torch.no_grad():
        frames = Inputs(frontend, 0.0, 0.5, audio=True)(torch.zeros(1, int(seconds * 16_000)))
        assert network(frames).shape == (1, int(seconds * 100 + 1) // 2, 2)


def test_with_every_step_alone_an_edit_reaches_no_further_than_the_convolutions(monkeypatch):
    network = small()
    attention = F.scaled_dot_product_attention

    def own_alone(q: Tensor, k: Tensor, v: Tensor, **options: float) -> Tensor:
        if q.shape[-1] == SIZE["dim"] // SIZE["temporal_heads"]:  # in time; over frequency heads are narrower
            options["attn_mask"] = torch.eye(q.shape[-2], dtype=torch.bool)
        return attention(q, k, v, **options)

    x = levels(80)
    edited = x.clone()
    edited[:, 40] += 1

    def changed() -> list[int]:
        with torch.no_grad():
            return (network(x) != network(edited)).any(2)[0].nonzero().flatten().tolist()

    assert changed() == list(range(40))
    monkeypatch.setattr(F, "scaled_dot_product_attention", own_alone)
    assert changed() == list(range(15, 26))  # two convolutions of whole frames, four of steps


def test_a_downbeat_is_a_beat():
    network, plain = small(), small(sum_rule=False)
    plain.load_state_dict(network.state_dict())
    x = levels(20)
    with torch.no_grad():
        other, downbeat = plain(x).unbind(2)
        torch.testing.assert_close(network(x), torch.stack([other + downbeat, downbeat], 2))
        half = network.to(torch.bfloat16)(x.bfloat16())
    assert half.dtype == torch.float32
    assert small(n_classes=3)(x).shape == (1, 10, 3)  # of a softmax: nothing is added


def test_layers_are_the_blocks_with_a_token_for_every_step():
    network, x = small(), levels(20, batch=2)
    with torch.no_grad():
        logits, found = network.forward_and_embed(x, ["block1", "block2"])
        torch.testing.assert_close(network(x), logits)
        torch.testing.assert_close(network.prepared()(x), logits, rtol=1e-4, atol=1e-5)
    assert found["block1"].shape == found["block2"].shape == (2, 10, 16)
    assert not torch.equal(found["block1"], found["block2"])
    assert network.embedding_shape("block1", (2, 16), 20) == (10, 16)
    named = [name for layer in network.parameter_layers() for name in layer]
    assert sorted(named) == sorted(name for name, _ in network.named_parameters())
    assert set(network.no_weight_decay()) == {"start.frequency_class", "start.frequency_positions"}


def test_it_is_exported_with_its_front_end(tmp_path):
    frontend = build("harmonic", hop=160, n_fft=1024, harmonics=2, semitone_scale=2)
    network = small(notes=frontend.item_shape[1])
    form = network.export_form(Inputs(frontend, 0.0, 0.5, audio=True), ["block2"], frames=40)
    audio = 0.1 * torch.randn(2, form.samples, generator=torch.Generator().manual_seed(2))
    torch.onnx.export(form, (audio,), tmp_path / "beats.onnx", dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "beats.onnx")
    logits, tokens = session.run(None, {session.get_inputs()[0].name: audio.numpy()})
    with torch.no_grad():
        expected = network(frontend(audio))
    np.testing.assert_allclose(logits, expected, atol=1e-3)
    assert tokens.shape == (2, 1, 20, 16)


def test_arguments_that_do_not_go_together():
    with pytest.raises(ValueError, match=r"channels=64 with spectral_heads=5"):
        SpecTNTBeats(spectral_heads=5)
    with pytest.raises(ValueError, match=r"pools=\[\]"):
        SpecTNTBeats(pools=[])


# Clicks


RATE, SECONDS, BAR = 16_000, 4.0, 4
PIECE = 232  # frames


def clicks(clips: int) -> tuple[Tensor, list[np.ndarray]]:
    """Audio `[clips, samples]` of clicks of 90 to 150 BPM, the first of every bar at another pitch, and their times."""
    generator = np.random.default_rng(0)
    audio, found = np.zeros((clips, int(RATE * SECONDS)), np.float32), []
    for clip in audio:
        period = 60 / generator.uniform(90, 150)
        times = np.arange(0.1 + period * generator.random(), SECONDS - 0.1, period)
        found.append(times)
        for beat, time in enumerate(times):
            n = np.arange(800)
            click = np.sin(2 * np.pi * n * (220 if beat % BAR == 0 else 880) / RATE) * np.exp(-n / 160)
            clip[round(time * RATE) :][:800] += 0.5 * click.astype(np.float32)
    return torch.from_numpy(audio), found


def peaks(logits: Tensor, grid: TimeGrid) -> np.ndarray:
    """Times of the maxima of 140 ms that are above zero."""
    highest = F.max_pool1d(logits[None], 7, 1, 3)[0]
    return grid.times(len(logits))[((logits == highest) & (logits > 0)).numpy()]


@pytest.fixture(scope="module")
def learned() -> tuple[SpecTNTBeats, Inputs, Tensor, list[np.ndarray]]:
    """A small network after a training on eight clips and, every other step, on pieces of them; and the clips."""
    torch.manual_seed(0)
    audio, times = clicks(8)
    frontend = build("harmonic", hop=160, n_fft=1024, harmonics=2, semitone_scale=1)
    inputs = Inputs(frontend, 0.0, 0.5, audio=True)
    network = SpecTNTBeats(
        harmonics=2,
        notes=frontend.item_shape[1],
        channels=8,
        dim=16,
        blocks=1,
        spectral_heads=1,
        temporal_heads=1,
        dropout=0.0,
        pools=((8, 2),),
    )
    grid = TimeGrid(frontend.frame_rate, network.pool)
    target = torch.zeros(8, grid.steps(frontend.n_frames(audio.shape[1])), 2)
    for row, beats in zip(target, times, strict=True):
        row[grid.nearest(beats), 0] = row[grid.nearest(beats[::BAR]), 1] = 1
    parameters = [*network.parameters(), *frontend.parameters()]
    weight = torch.tensor([3.0, 10.0])
    optimiser = torch.optim.Adam(parameters, lr=1e-2)
    for step in range(240):
        optimiser.param_groups[0]["lr"] = 1e-2 * min(1.0, 2 - step / 120)
        optimiser.zero_grad()
        frames, wanted = inputs(audio), target
        if step % 2:
            first = int(torch.randint(target.shape[1] - PIECE // network.pool, ()))
            frames = frames[:, first * network.pool :][:, :PIECE]
            wanted = target[:, first:][:, : PIECE // network.pool]
        F.binary_cross_entropy_with_logits(network(frames), wanted, pos_weight=weight).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
    return network.eval(), inputs, audio, times


def test_eight_clips_of_clicks_are_learned_with_no_bias_in_time(learned):
    network, inputs, audio, times = learned
    grid = TimeGrid(inputs.frontend.frame_rate, network.pool)
    assert inputs.frontend.q.item() != 1.0  # the bandwidth of the filters is learned, too
    errors = []
    with torch.no_grad():
        logits = network(inputs(audio))
    for clip, beats in zip(logits, times, strict=True):
        assert mir_eval.beat.f_measure(beats, peaks(clip[:, 0], grid)) == 1.0
        assert mir_eval.beat.f_measure(beats[::BAR], peaks(clip[:, 1], grid)) == 1.0
        errors += list(peaks(clip[:, 0], grid) - beats)
    assert abs(np.mean(errors)) < 0.002
    assert np.abs(errors).max() < 1.5 / grid.rate


def test_pieces_of_a_recording_give_what_the_whole_does_away_from_their_ends(learned):
    network, inputs, audio, times = learned
    grid = TimeGrid(inputs.frontend.frame_rate, network.pool)
    with torch.no_grad():
        frames = inputs(audio)
        window, margin = PIECE, network.margin
        starts = [0, window - 2 * margin]
        parts = [network(frames[:, start : start + window]) for start in starts]
    first, last = margin // network.pool, window // network.pool
    joined = torch.cat([parts[0][:, : last - first], parts[1][:, first:]], 1)
    for clip, beats in zip(joined, times, strict=True):
        seen = beats[beats < (starts[1] + window - margin) / 100]
        found = peaks(clip[:, 0], grid)
        assert mir_eval.beat.f_measure(seen, found[found < seen[-1] + 0.1]) > 0.99
