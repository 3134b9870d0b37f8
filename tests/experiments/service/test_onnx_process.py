"""A process that serves an exported network, and those that decode for it, do without PyTorch."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from tests.experiments.service.exported import written

ROOT = Path(__file__).parents[3]
SOUND = ROOT / "tests" / "data" / "super_polka.ogg"
PATIENCE = 120  # seconds
WATCH = """
import os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            open(os.environ["SEEN"], "a").write(f"{os.getpid()} ")

sys.meta_path.insert(0, Watch())
"""


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """In which every process notes that it imports torch."""
    folder = tmp_path / "watch"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WATCH)
    own = {"PYTHONPATH": str(folder), "SEEN": str(tmp_path / "seen")}
    return {**os.environ, **own, "OSTINATO_HOME": str(tmp_path / "home"), "OSTINATO_CACHE": str(tmp_path / "cache")}


def test_imports_are_seen(environment, tmp_path):
    subprocess.run([sys.executable, "-c", "import torch"], env=environment, cwd=ROOT, check=True, timeout=PATIENCE)
    assert (tmp_path / "seen").exists()


def test_a_service_answers_without_pytorch(environment, tmp_path):
    words = [f"service.models.{kind}={written(kind, tmp_path)}" for kind in ("genre", "tags")]
    command = [sys.executable, str(ROOT / "ex_transfer.py"), "serve", "with", "service.engine=onnx", *words]
    more = ["service.port=0", "service.decoders=1", "tracking.mongo=off"]
    server = subprocess.Popen([*command, *more], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    limit = threading.Timer(PATIENCE, server.kill)
    limit.start()
    try:
        address = next(found[0] for line in server.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        request = urllib.request.Request(f"{address}/v1/predict", SOUND.read_bytes(), method="POST")
        request.add_header("Content-Type", "application/octet-stream")
        answer = json.load(urllib.request.urlopen(request, timeout=PATIENCE))
    finally:
        server.terminate()
        server.communicate()
        limit.cancel()
    assert server.returncode == 0
    assert answer["answers"].keys() == {"genre", "tags"}, answer
    assert not (tmp_path / "seen").exists()
