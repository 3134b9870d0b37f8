"""The benchmark of decoders runs, and says which peers it goes without."""

from __future__ import annotations

from rich.console import Console

from benchmarks import beat_decoding


def test_a_short_race_without_peers(monkeypatch, tmp_path):
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path))
    monkeypatch.setattr(beat_decoding, "PEERS", {"absent": beat_decoding.metricon})
    monkeypatch.setattr(beat_decoding, "METRICON", "no_such_module")
    console = Console(width=120, record=True)
    beat_decoding.measure(6.0, 25.0, 1, console)
    said = console.export_text()
    assert "without absent: No module named 'no_such_module'" in said
    assert "6 s at 25 frames a second" in said
