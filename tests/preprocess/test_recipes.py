"""What can be stored of audio files, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from preprocess.recipes import recipe

LEARNED = """
from torch import nn
from models.frontends import FrontEnd

class Scaled(FrontEnd):
    sample_rate = 22_050

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(1, 1)
"""


def test_the_output_of_a_learned_front_end_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "scaled_module.py").write_text(LEARNED)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"'scaled_module:Scaled' is learned .* store the audio, audio_22050"):
        recipe("scaled_module:Scaled")
