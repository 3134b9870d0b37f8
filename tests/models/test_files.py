"""Files that are replaced in one step."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.files import replaced


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    for text in ("old", "new"):
        with replaced(file) as aside:
            aside.write_text(text)
            assert aside.suffix == ".new"
    with pytest.raises(UnicodeEncodeError), replaced(file) as aside:
        aside.write_text("half of a pair: \ud800", encoding="utf-8")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "new")]
