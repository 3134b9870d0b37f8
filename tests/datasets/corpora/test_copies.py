"""A user's copy: other folders, other formats, missing, empty and damaged files."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from datasets.corpora import find
from datasets.corpora.base import cut
from datasets.corpora.copies import verify, write_absent
from datasets.tables import CorpusError

GTZAN, KEY = find("gtzan"), find("giantsteps_key")


def put(path: Path, content: bytes = b"audio") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def two():
    return cut(GTZAN.items(), ["jazz.00054", "rock.00001"])


def test_files_are_found_wherever_they_lie(two, tmp_path):
    jazz = put(tmp_path / "Data" / "genres_original" / "jazz" / "jazz.00054.wav")
    rock = put(tmp_path / "au" / "rock" / "rock.00001.au")
    put(tmp_path / "rock.00001.txt")
    put(tmp_path / "unrelated.mp3")
    put(tmp_path / ".hidden" / "rock.00001.mp3")
    copy = verify(GTZAN, two, tmp_path)
    assert copy.files == {"jazz.00054": jazz, "rock.00001": rock}
    assert not copy.absent
    assert copy.foreign == 1


def test_of_several_files_the_published_format_nearest_to_the_top_is_taken(two, tmp_path):
    put(tmp_path / "copy" / "jazz.00054.wav")
    first = put(tmp_path / "jazz.00054.wav")
    put(tmp_path / "jazz.00054.flac")
    copy = verify(GTZAN, two[:1], tmp_path)
    assert copy.files == {"jazz.00054": first}
    assert copy.repeated == 2


def test_a_link_to_nowhere_is_told_with_the_reason(two, tmp_path):
    (tmp_path / "rock.00001.wav").symlink_to(tmp_path / "gone.wav")
    reason = verify(GTZAN, two, tmp_path).absent["rock.00001"]
    assert reason == f"unreadable: {tmp_path / 'rock.00001.wav'}: No such file or directory"


def test_what_is_missing_or_empty_is_told_with_the_reason(two, tmp_path):
    put(tmp_path / "rock.00001.wav", b"")
    copy = verify(GTZAN, two, tmp_path)
    assert not copy.files
    assert copy.absent["jazz.00054"] == "missing: expected as genres/jazz/jazz.00054.wav"
    assert copy.absent["rock.00001"].startswith("empty file")
    write_absent(tmp_path / "missing.csv", two, copy.absent, "fault-filtered")
    lines = (tmp_path / "missing.csv").read_text().splitlines()
    assert lines[:2] == ["id,split,reason", "jazz.00054,train,missing: expected as genres/jazz/jazz.00054.wav"]
    write_absent(tmp_path / "missing.csv", two, {}, "fault-filtered")
    assert not (tmp_path / "missing.csv").exists()


def test_published_checksums_are_compared(tmp_path):
    whole, harmed, converted = KEY.items()[:3]
    for item in (whole, harmed):
        put(tmp_path / "audio" / f"{item.name}.LOFI.mp3", item.name.encode())
        put(tmp_path / "md5" / f"{item.name}.LOFI.md5", hashlib.md5(whole.name.encode()).hexdigest().encode())
    put(tmp_path / "audio" / f"{converted.name}.wav")
    put(tmp_path / "md5" / f"{converted.name}.LOFI.md5", b"0" * 32)
    copy = verify(KEY, (whole, harmed, converted), tmp_path)
    assert set(copy.files) == {whole.id, converted.id}
    assert copy.absent[harmed.id].startswith("damaged")
    assert harmed.id in verify(KEY, (harmed,), tmp_path, known={harmed.id}).files


def test_no_folder(two, tmp_path):
    with pytest.raises(CorpusError, match="no such folder; give the folder that holds GTZAN"):
        verify(GTZAN, two, tmp_path / "none")
    with pytest.raises(CorpusError, match="a file; give"):
        verify(GTZAN, two, put(tmp_path / "file"))


def test_a_folder_that_cannot_be_listed_is_told_of(two, tmp_path, monkeypatch):
    put(tmp_path / "closed" / "jazz.00054.wav")
    put(tmp_path / "rock.00001.wav")
    scandir = os.scandir

    def denied(path):
        if Path(path) == tmp_path / "closed":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", denied)
    copy = verify(GTZAN, two, tmp_path)
    assert list(copy.files) == ["rock.00001"]
    reason = f"unreadable: {tmp_path / 'closed'}: Permission denied, perhaps it lies there"
    assert copy.absent == {"jazz.00054": f"missing: expected as genres/jazz/jazz.00054.wav; {reason}"}


def test_a_folder_that_links_back_to_itself_is_walked_once(two, tmp_path):
    put(tmp_path / "a" / "jazz.00054.wav")
    (tmp_path / "a" / "back").symlink_to(tmp_path)
    assert verify(GTZAN, two[:1], tmp_path).repeated == 0


def test_a_folder_that_a_link_leads_to_as_well_lies_where_it_really_is(two, tmp_path):
    put(tmp_path / "rock" / "rock.00001.au")
    put(tmp_path / "jazz" / "jazz.00054.au")
    put(tmp_path / "#recycle" / "rock.00001.mp3")
    (tmp_path / "jazz" / "crossover").symlink_to("../rock")
    (tmp_path / "jazz" / "above").symlink_to("../..")
    copy = verify(GTZAN, two, tmp_path)
    assert copy.files == {
        "jazz.00054": tmp_path / "jazz" / "jazz.00054.au",
        "rock.00001": tmp_path / "rock" / "rock.00001.au",
    }
    assert (copy.repeated, copy.foreign) == (0, 0)


def test_folders_that_only_a_link_leads_to_are_looked_into(two, tmp_path):
    put(tmp_path / "disk" / "rock" / "rock.00001.au")
    put(tmp_path / "here" / "jazz.00054.au")
    (tmp_path / "here" / "more").symlink_to("../disk")
    assert verify(GTZAN, two, tmp_path / "here").files["rock.00001"].parent == tmp_path / "here" / "more" / "rock"
