"""Stored audio beside probes, which see embeddings: its rate is no matter there."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.store import Header, StoreWriter
from experiments.errors import UserError
from experiments.settings import DatamoduleSettings
from experiments.tracks.data import open_source
from models.frontends import build


def test_only_a_network_minds_the_rate(tmp_path):
    header = Header("audio", (), "int16", "sample", {"sample_rate": 22_050}, "samples")
    with StoreWriter(tmp_path / "audio", header) as writer:
        writer.append("a.wav", np.ones(30_000, np.int16))
    (tmp_path / "audio" / "tracks.csv").write_text("path,genre,split\na.wav,jazz,train\n")
    settings = DatamoduleSettings(base_dir=str(tmp_path / "audio"))
    assert open_source(settings).audio
    with pytest.raises(UserError, match="holds audio at 22050 Hz"):
        open_source(settings, build("waveform", sample_rate=16_000))
