"""Windows as a network takes them, and how those of several tracks share batches."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from datasets.windows import Plan, cut
from experiments.encoder import Encoder
from models.maest import MAEST
from models.running import OpenTrack, in_batches, logits_of, tokens_of

SMALL = {"n_classes": 4, "n_frames": 312, "dim": 32, "depth": 2, "heads": 2}


@pytest.mark.parametrize(
    ("frames", "starts", "lengths"),
    [
        (17, [0], [16]),
        (279, [0], [276]),
        (280, [0], [276]),
        (281, [0], [312]),
        (312, [0], [312]),
        (500, [0], [312]),
        (593, [0, 312], [312, 312]),
    ],
)
def test_windows(frames, starts, lengths):
    taken = MAEST(**SMALL).unpadded(min(frames, 312))
    begun, clips = cut(np.ones((frames, 96), np.float16), Plan(312, 312), unpadded=taken)
    assert begun.tolist() == starts
    assert [len(clip) for clip in clips] == lengths


def test_windows_of_one_length_share_batches_whichever_files_they_are_of():
    sizes = []

    def run_batch(clips):
        sizes.append(tuple(clips.shape[:2]))
        return [clips[:, 0].numpy()]

    files = [
        OpenTrack(str(number), np.arange(count), [np.full((length, 2), 10 * number + clip) for clip in range(count)])
        for number, (count, length) in enumerate([(1, 5), (3, 5), (1, 4), (5, 5), (1, 4)])
    ]
    done = list(in_batches(files, run_batch, 4))
    assert sizes == [(4, 5), (4, 5), (1, 5), (2, 4)]
    assert [file.name for file in done] == ["0", "1", "3", "2", "4"]
    for file in done:
        expected = [[[10 * int(file.name) + clip] * 2] for clip in range(len(file.starts))]
        assert np.array(file.outputs).tolist() == expected


def test_functions_of_one_network_share_what_is_made_ready_for_it():
    encoder = Encoder.of(MAEST(**SMALL), device="cpu")
    logits = encoder.runner(logits_of)
    tokens = logits.computing(partial(tokens_of, layers=encoder.layers()))
    again = tokens.computing(logits_of)
    windows = np.random.default_rng(0).normal(size=(2, 312, 96)).astype(np.float32)
    np.testing.assert_array_equal(again(windows)[0], logits(windows)[0])
    np.testing.assert_array_equal(tokens(windows)[0], encoder.runner(tokens.forward)(windows)[0])
    assert again._ready is tokens._ready is logits._ready
