"""`kill -9` in the middle of an epoch, the same command with `resume=True`: one run, as if nothing had happened."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import torch

from experiments.tracking.journal import read

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [
    "with",
    "maest_5s_random_weights_pretrain",
    "debug",
    "trainer.limit_train_batches=5",
    "trainer.checkpoint_every_n_steps=2",
    "module.optimizer.lr=1e-3",
]


def series(database, run: dict) -> dict[str, list]:
    found = database["metrics"].find({"run_id": run["_id"]})
    return {entry["name"]: list(zip(entry["steps"], entry["values"], strict=True)) for entry in found}


def test_a_killed_training_goes_on_in_the_same_run(database, mongo_url, tiny_corpus, tmp_path, monkeypatch):
    from ex_pretrain import ex

    parts = urlsplit(mongo_url)
    monkeypatch.setenv("OSTINATO_MONGO_URL", urlunsplit(parts._replace(path=f"/{database.name}")))
    monkeypatch.setenv("OSTINATO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OSTINATO_CACHE", str(tiny_corpus.parents[1]))
    monkeypatch.chdir(tmp_path)
    killed = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "ex_cut.py"), *COMMAND],
        env=os.environ | {"CUT": "0:9:kill", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert killed.returncode == -9, killed.stderr
    before = database["runs"].find_one()
    assert before["status"] == "RUNNING"
    log_before = (tmp_path / "runs" / before["ostinato"]["key"] / "run.log").read_text()

    result = ex.run_commandline([str(ROOT / "ex_pretrain.py"), *COMMAND, "resume=True"])
    (run,) = database["runs"].find()
    folder = tmp_path / "runs" / run["ostinato"]["key"]
    assert (run["_id"], run["status"]) == (before["_id"], "COMPLETED")
    assert run["start_time"] == before["start_time"]
    assert [segment["status"] for segment in run["info"]["segments"]] == ["INTERRUPTED", "COMPLETED"]
    assert [record["step"] for record in read(folder, metrics=False) if record["kind"] == "rewind"] == [8]
    assert (folder / "run.log").read_text().startswith(log_before)
    assert "after 8 steps" in (folder / "run.log").read_text()[len(log_before) :]
    kept = {file["name"] for file in run["artifacts"]}
    assert {"curves.png", "throughput.png", "metrics.parquet", "run.log", "last.ckpt"} <= kept

    again = ex.run_commandline([str(ROOT / "ex_pretrain.py"), *COMMAND, "tracking.runs_dir=whole"])
    whole = database["runs"].find_one({"_id": {"$ne": run["_id"]}})
    assert result == again == whole["result"]
    resumed, never_killed = series(database, run), series(database, whole)
    assert [step for step, _ in resumed["train/loss"]] == list(range(10))
    assert resumed == never_killed
    assert {"train/loss", "train/lr", "val/loss", "val/roc_auc"} <= resumed.keys()
    learned = re.compile(r"train/(lr|loss|accuracy)|(val|test)/(loss|roc_auc|ap)")
    assert not [name for name in resumed if not learned.fullmatch(name)]
    assert run["info"]["throughput"].keys() == whole["info"]["throughput"].keys() == {"clips_per_second", "data_wait"}
    (other,) = (tmp_path / "whole").glob("2*")
    for name in ("last.ckpt", "best.ckpt"):
        left, right = (torch.load(at / "checkpoints" / name, weights_only=True)["state_dict"] for at in (folder, other))
        assert left.keys() == right.keys()
        assert all(torch.equal(left[key], right[key]) for key in left)


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in the same order in every process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
