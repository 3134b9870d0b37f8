"""The benchmark of taggers runs, in its tiny form."""

from __future__ import annotations

import sys

import pytest
import torch

from benchmarks import taggers
from benchmarks.machine import Roof


@pytest.mark.parametrize("name", ["short_chunk", "short_chunk_res"])
def test_every_race_is_run_and_told(name, monkeypatch, capsys):
    monkeypatch.setattr(taggers, "roof", lambda rounds: Roof(1e11, "a kernel", (1, 1, 1)))
    monkeypatch.setattr(sys, "argv", ["taggers", "--tiny", "--rounds", "1", "--networks", name])
    taggers.main()
    printed = capsys.readouterr().out
    assert printed.count("largest difference of scores") == 2
    for title in ("forward pass, batch 1", "forward pass, batch 2", "training step, batch 2"):
        assert f"{name}: {title}" in printed
    assert f"| {name} | plain PyTorch |" in printed


def test_a_folder_without_the_published_networks_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["taggers", "--networks", "fcn", "--published", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"there is no training/model\.py"):
        taggers.main()


def test_weights_of_files_are_raced_without_training(monkeypatch, tmp_path, capsys):
    network = taggers.Contest("short_chunk", tiny=True).network()
    (tmp_path / "short_chunk").mkdir()
    torch.save(network.state_dict(), tmp_path / "short_chunk" / "best_model.pth")
    monkeypatch.setattr(taggers, "roof", lambda rounds: Roof(1e11, "a kernel", (1, 1, 1)))
    words = ["--tiny", "--rounds", "1", "--weights", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["taggers", *words])
    taggers.main()
    printed = capsys.readouterr().out
    assert "training" not in printed
    assert "| network | beside | forward, batch 1 | forward, batch 2 |" in printed
    monkeypatch.setattr(sys, "argv", ["taggers", *words, "--networks", "fcn"])
    with pytest.raises(SystemExit, match=r"no NAME/best_model\.pth of fcn"):
        taggers.main()
