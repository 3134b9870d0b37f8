"""Settings that had another name before: a script that uses the old one goes on working, and is told the new one."""

from __future__ import annotations

# Old dotted key -> new dotted key, of every experiment that has the new one.
RENAMED: dict[str, str] = {
    "datamodule.max_left_out": "datamodule.max_unmatched",
    "embeddings.answers": "embeddings.predictions",
    "probe.tiles_dir": "probe.sweep_dir",
    "distillation.patch": "distillation.window",
}
