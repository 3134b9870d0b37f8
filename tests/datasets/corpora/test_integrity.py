"""The table of verdicts: every recording is in it, and it is read as it was written."""

from __future__ import annotations

import pytest

from datasets.corpora.base import Item, ProtocolRow
from datasets.corpora.integrity import Verdict, read, verdicts, write
from datasets.tables import CorpusError

ITEMS = (
    Item("a", "a", {"all": ProtocolRow("test", {"tempo": "100", "genre": "jazz"})}),
    Item("b", "b", {}, refused="300 BPM, outside", facts={"tempo": "300"}),
    Item("=c", "=c", {"all": ProtocolRow("test", {})}),
)


def test_every_recording_has_a_verdict_and_the_refused_ones_a_reason(tmp_path):
    found = verdicts(ITEMS, {"=c": "silent"}, {"a": "states 16,000 Hz"})
    assert found == [
        Verdict("a", "accepted", "states 16,000 Hz", "jazz", "100"),
        Verdict("b", "refused", "300 BPM, outside", "", "300"),
        Verdict("=c", "refused", "silent"),
    ]
    write(tmp_path, found)
    assert read(tmp_path) == found


def test_a_folder_without_the_table_has_none_and_another_table_is_refused(tmp_path):
    assert read(tmp_path) == []
    (tmp_path / "integrity.csv").write_text("path,split\nx,train\n")
    with pytest.raises(CorpusError, match="not a table of track, verdict"):
        read(tmp_path)
