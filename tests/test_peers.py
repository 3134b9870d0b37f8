"""In CI every peer is there, and ffmpeg and Dask: a test that is skipped proves nothing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys

import pytest
from packaging.markers import default_environment

from tests.peers import panns_labels
from tests.test_lock import wanted

MODULES = {
    "cysox": "cysox",
    "torchaudio": "torchaudio",
    "maest-infer": "maest_infer.model",
    "hear21passt": "hear21passt.models.passt",
    "essentia": "essentia.standard",
    "transformers": "transformers",
    "panns-inference": "panns_inference.models",
    "torchlibrosa": "torchlibrosa.stft",
    "beat-this": "beat_this.model.beat_tracker",
    "einops": "einops",
    "rotary-embedding-torch": "rotary_embedding_torch",
}


def test_every_peer_has_a_module():
    assert {requirement.name for requirement in wanted("requirements-peers.txt")} == set(MODULES)


@pytest.mark.skipif(not os.environ.get("CI"), reason="CI is not set: peers are optional, and their tests are skipped")
def test_every_peer_can_be_imported(tmp_path):
    panns_labels(tmp_path)
    needed = [
        MODULES[requirement.name]
        for requirement in wanted("requirements-peers.txt")
        if requirement.marker is None or requirement.marker.evaluate(default_environment())
    ]
    failed = {}
    for module in needed:
        environment = {**os.environ, **({"HOME": str(tmp_path)} if module.startswith("panns") else {})}
        command = [sys.executable, "-c", f"import {module}"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            failed[module] = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    assert not failed, f"peers that do not load, so that no parity test is worth anything: {failed}"


@pytest.mark.skipif(not os.environ.get("CI"), reason="CI is not set: ffmpeg is optional, and what needs it is skipped")
def test_ffmpeg_is_there():
    assert shutil.which("ffmpeg"), "tests of formats that only ffmpeg decodes would be skipped"


@pytest.mark.skipif(not os.environ.get("CI"), reason="CI is not set: Dask is optional, and what needs it is skipped")
def test_dask_is_there():
    assert importlib.util.find_spec("distributed"), "tests of a cluster would be skipped"
