"""What tests of every room share: the tiny demo corpus, rendered once a session."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("project", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("project")
os.environ.setdefault("MPLBACKEND", "Agg")
# Processes of a test run that use librosa themselves must not fill one cache at once (see preprocess.compiled).
_compiled = Path(__file__).parents[1] / ".pytest_cache" / "numba" / os.environ.get("PYTEST_XDIST_WORKER", "main")
os.environ["NUMBA_CACHE_DIR"] = str(_compiled)


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory) -> Path:
    """Folder of the tiny demo corpus: `audio/`, `tracks.csv`."""
    from datasets import demo

    return demo.build("tiny", cache_dir=tmp_path_factory.mktemp("cache"), jobs=1, progress=False)


@pytest.fixture(scope="session")
def tiny_mels(tiny_corpus, tmp_path_factory) -> Path:
    """Mel store of the tiny demo corpus."""
    from preprocess import build_store

    folder = tmp_path_factory.mktemp("features") / "mels"
    build_store(tiny_corpus / "audio", folder, jobs=1, progress=False)
    return folder
