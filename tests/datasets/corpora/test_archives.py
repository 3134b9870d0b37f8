"""Archives: zip in parts, tar, interrupted, damaged, hostile."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import tarfile
import tracemalloc
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets.corpora import archives
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
    assert len(done) == 20
    assert min(done) > 0
    assert 0.5 < sum(done) / sum(part.stat().st_size for part in parts) <= 1


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


def tar_of(path: Path, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.type = len(content), kind
            archive.addfile(info, io.BytesIO(content))
    return path


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(("write", "name"), [(zip_of, "a.zip"), (tar_of, "a.tar.gz")])
def test_an_archive_that_unfolds_beyond_measure_is_refused(tmp_path, monkeypatch, write, name):
    monkeypatch.setattr(archives, "ALWAYS", 10_000)
    path = write(tmp_path / name, {"small.txt": b"x", "large.txt": bytes(3_000_000)})
    with pytest.raises(CorpusError, match=r"bytes would become 3,000,001 and more, expected .* at most"):
        unpack([path], tmp_path / "out")
    assert set(contents(tmp_path / "out")) <= {"small.txt"}
    assert not (tmp_path / "out" / "large.txt").exists()


def test_many_small_files_are_added_up(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "ALWAYS", 10_000)
    path = zip_of(tmp_path / "a.zip", {f"{number}.txt": bytes(40_000) for number in range(50)})
    with pytest.raises(CorpusError, match=r"expected .* at most"):
        unpack([path], tmp_path / "out")
    assert not contents(tmp_path / "out")


@pytest.mark.parametrize(("write", "name"), [(zip_of, "a.zip"), (tar_of, "a.tar.gz")])
def test_numbers_and_depths_have_limits(tmp_path, monkeypatch, write, name):
    with pytest.raises(CorpusError, match="lies too deep"):
        unpack([write(tmp_path / name, {"a/" * 40 + "b": b"x"})], tmp_path / "out")
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    with pytest.raises(CorpusError, match="more than 3 files"):
        unpack([write(tmp_path / name, dict.fromkeys("abcd", b"x"))], tmp_path / "out")


@pytest.mark.parametrize(("write", "name"), [(zip_of, "a.zip"), (tar_of, "a.tar.gz")])
def test_a_disk_without_room_is_told_before_it_is_full(tmp_path, monkeypatch, write, name):
    path = write(tmp_path / name, {"a.txt": b"x" * 1000})
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=999))
    with pytest.raises(CorpusError, match=r"1,000 bytes more do not fit into .*, where 999 are free"):
        unpack([path], tmp_path / "out")
    assert not contents(tmp_path / "out")


def test_a_long_name_in_a_tar_takes_no_memory(tmp_path):
    path = tar_of(tmp_path / "a.tar.gz", {"././@LongLink": bytes(50_000_000)}, tarfile.GNUTYPE_LONGNAME)
    tracemalloc.start()
    try:
        with pytest.raises(CorpusError, match="50,000,000 bytes about one file"):
            unpack([path], tmp_path / "out")
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.sampled_from(["a.zip", "a.tar", "a.tar.gz"]))
def test_any_damage_is_unpacked_or_refused(tmp_path, data, name):
    members = {"a/b.txt": b"abc" * 20, "c": b"", "d.txt": b"d"}
    if name == "a.zip":
        path = zip_of(tmp_path / name, members)
    else:
        path = tar_of(tmp_path / name, members, mode="w" if name == "a.tar" else "w:gz")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, min(len(content), 2000) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path.write_bytes(content)
    out = tmp_path / "out"
    shutil.rmtree(out, ignore_errors=True)
    with contextlib.suppress(CorpusError):
        unpack([path], out)
    assert sum(len(one) for one in contents(out).values()) < 20_000
