"""A network, a front end and a task in one file outside of the project, by the ordinary commands.

The file is the example of `docs/extending.md`, so that what the documentation shows is what is run here.
"""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from datasets.store import Store

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "extending.md"
OWN = ("model.network=my_music:Small", "datamodule.task=my_music:Fast")
OFF = ("tracking.mongo=off", "datamodule.demo_size=tiny")


def run(folder: Path, script: str, *words: str, code: int = 0) -> str:
    """Run a command in a folder and return what it said."""
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == code, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the example's file, and a run of its network in `run`."""
    folder = tmp_path_factory.mktemp("own")
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (folder / "my_music.py").write_text(example, encoding="utf-8")
    run(folder, "ex_transfer.py", "with", "mine", "debug", *OWN, *OFF)
    (trained,) = (folder / "runs").glob("*/checkpoints/best.ckpt")
    (folder / "run").symlink_to(trained.parents[1], target_is_directory=True)
    return folder


def test_it_trains_and_is_evaluated(folder: Path) -> None:
    said = run(folder, "ex_transfer.py", "evaluate", "with", "mine", *OWN, *OFF, "inference.checkpoint=run")
    assert re.search(r"test/accuracy \d", said)


def test_it_predicts_a_file(folder: Path) -> None:
    soundfile.write(folder / "noise.wav", np.random.default_rng(0).normal(0, 0.1, 8 * 22_050), 22_050)
    where = ("inference.checkpoint=run", "inference.audio=noise.wav", "inference.out_dir=predicted")
    run(folder, "ex_transfer.py", "predict", "with", "mine", *OWN, "tracking.mongo=off", *where)
    (ranked,) = csv.DictReader((folder / "predicted" / "predictions.csv").open(encoding="utf-8"))
    assert float(ranked["slow"]) + float(ranked["fast"]) == pytest.approx(1, abs=1e-3)


def test_its_embeddings_are_stored_and_probed(folder: Path) -> None:
    stored = ("inference.checkpoint=run", "inference.out_dir=embeddings")
    run(folder, "ex_pretrain.py", "extract_embeddings", "with", "mine", *OWN, *OFF, *stored)
    (header,) = (folder / "embeddings").rglob("header.json")
    store = Store(header.parent)
    assert store.header.item_shape == (1, 32)
    assert np.isfinite(store.read(store.ids[0])).all()
    probing = (f"embeddings.store={header.parent}", "datamodule.task=genre", "probe.tasks=[genre]", "probe.grid=single")
    said = run(folder, "ex_probe.py", "with", *probing, *OFF, "probe.max_steps=20", "probe.jobs=1")
    assert re.search(r"embeddings +\d", said)


def test_it_is_exported(folder: Path) -> None:
    where = ("inference.checkpoint=run", "export.format=onnx", "export.path=net.onnx")
    run(folder, "ex_transfer.py", "export", "with", "mine", *OWN, "tracking.mongo=off", *where)
    assert (folder / "net.onnx").stat().st_size > 0


def test_a_checkpoint_alone_does_not_import_the_module(folder: Path) -> None:
    said = run(folder, "ex_transfer.py", "evaluate", "with", *OFF, "inference.checkpoint=run", code=1)
    assert "my_music:Small" in said
    assert "model.network=my_music:Small" in said
