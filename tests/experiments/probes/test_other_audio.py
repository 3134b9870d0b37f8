"""What a sweep says where embeddings are not of the audio that the features are of."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from datasets.store import Header, Store, StoreWriter
from experiments.probes.experiment import warn_of_other_audio


def store(folder: Path, kind: str, fingerprint: str, second: str) -> Store:
    """Two tracks, whose arrays differ by what made them."""
    with StoreWriter(folder, Header(kind, (1, 2), fingerprint=fingerprint)) as writer:
        for identity, checksum in (("a.ogg", "crc32:01"), ("b.ogg", second)):
            writer.append(identity, np.full((1, 1, 2), len(fingerprint)), audio_checksum=checksum)
    return Store(folder)


@pytest.mark.parametrize(("now", "said"), [("crc32:02", ""), ("crc32:03", "1 track was not made from the audio of")])
def test_only_replaced_audio_is_reported(tmp_path: Path, capsys, now: str, said: str):
    embeddings = store(tmp_path / "embeddings", "embeddings", "a network", "crc32:02")
    features = store(tmp_path / "features", "mel", "another front end", now)
    source = SimpleNamespace(features=features, base_dir=tmp_path)
    warn_of_other_audio([SimpleNamespace(stores=(embeddings,))], source)
    shown = capsys.readouterr().err
    assert said in shown
    assert bool(shown) == bool(said)
    assert ("b.ogg for instance" in shown) == bool(said)
