"""How audio is stored as whole numbers."""

from __future__ import annotations

FULL_SCALE = 32768  # of audio in int16
