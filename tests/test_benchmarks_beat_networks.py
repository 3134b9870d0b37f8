"""The benchmark of networks for beats runs, in its tiny form."""

from __future__ import annotations

import sys

from benchmarks import beat_networks
from benchmarks.machine import Roof


def test_every_race_is_run_and_told(monkeypatch, capsys):
    monkeypatch.setattr(beat_networks, "roof", lambda rounds: Roof(1e11, "a kernel", (1, 1, 1)))
    words = ["--tiny", "--rounds", "1", "--seconds", "2", "--profile", "--networks", "spectnt_beats,beat_this_small"]
    monkeypatch.setattr(sys, "argv", ["beat_networks", *words])
    beat_networks.main()
    printed = capsys.readouterr().out
    for name in ("spectnt_beats", "beat_this_small"):
        assert f"{name}: forward pass, 1 x 2 s" in printed
        assert f"{name}: training step, 2 x 2 s" in printed
    assert "aten::mkldnn_convolution" in printed
