"""The named configs of all systems together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("script", ["ex_pretrain", "ex_transfer", "ex_probe"])
def test_a_script_does_not_wait_for_torch_before_it_knows_what_to_do(script):
    program = f"import sys, {script}; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
