"""Archives: zip in parts, tar, interrupted, damaged, hostile."""

from __future__ import annotations

import io
import os
import random
import tarfile
import zipfile
from pathlib import Path

import pytest

from datasets.corpora.archives import Joined, unpack
from datasets.tables import CorpusError

FILES = {f"{number % 3}/clip {number}.mp3": os.urandom(100 + 37 * number) for number in range(20)}


@pytest.fixture
def parts(tmp_path) -> list[Path]:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    content, third = whole.getvalue(), len(whole.getvalue()) // 3
    paths = [tmp_path / f"mp3.zip.00{number}" for number in (1, 2, 3)]
    for path, piece in zip(paths, (content[:third], content[third : 2 * third], content[2 * third :]), strict=True):
        path.write_bytes(piece)
    return paths


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_zip_in_parts_is_unpacked_without_being_joined(parts, tmp_path):
    done = []
    assert unpack(parts, tmp_path / "out", done.append) == 20
    assert contents(tmp_path / "out") == FILES
    assert done == list(range(1, 21))


def test_unpacking_goes_on_where_it_stopped(parts, tmp_path):
    unpack(parts, tmp_path / "out")
    kept = tmp_path / "out" / "0" / "clip 0.mp3"
    before = kept.stat().st_mtime_ns
    (tmp_path / "out" / "1" / "clip 1.mp3").unlink()
    (tmp_path / "out" / "2" / "clip 2.mp3").write_bytes(b"cut short")
    assert unpack(parts, tmp_path / "out") == 2
    assert contents(tmp_path / "out") == FILES
    assert kept.stat().st_mtime_ns == before


def test_a_tar(tmp_path):
    with tarfile.open(tmp_path / "genres.tar.gz", "w:gz") as archive:
        for name, content in FILES.items():
            info = tarfile.TarInfo(f"genres/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    assert unpack([tmp_path / "genres.tar.gz"], tmp_path / "out") == 20
    assert contents(tmp_path / "out" / "genres") == FILES


def test_a_part_that_is_missing_or_damaged_is_told(parts, tmp_path):
    with pytest.raises(CorpusError, match="cannot be unpacked"):
        unpack(parts[:2], tmp_path / "out")
    (tmp_path / "genres.tar.gz").write_bytes(b"not an archive")
    with pytest.raises(CorpusError, match=r"genres\.tar\.gz: cannot be unpacked"):
        unpack([tmp_path / "genres.tar.gz"], tmp_path / "out")


def test_nothing_is_written_outside_the_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("../outside.txt", "x")
    with pytest.raises(CorpusError, match="outside"):
        unpack([tmp_path / "bad.zip"], tmp_path / "out")
    assert not (tmp_path / "outside.txt").exists()


def test_joined_files_read_as_one():
    pieces = [b"abc", b"", b"defgh", b"i"]
    joined = io.BufferedReader(Joined([io.BytesIO(piece) for piece in pieces]), 4)
    whole = b"".join(pieces)
    assert joined.read() == whole
    draw = random.Random(0)
    for _ in range(50):
        start, length = draw.randrange(len(whole) + 2), draw.randrange(6)
        joined.seek(start)
        assert joined.read(length) == whole[start : start + length]


def test_damage_within_a_compressed_file_is_told(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", b"music " * 1000)
    content = bytearray(path.read_bytes())
    content[40:50] = b"\xff" * 10
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=r"a\.zip: cannot be unpacked"):
        unpack([path], tmp_path / "out")
    assert not contents(tmp_path / "out")
