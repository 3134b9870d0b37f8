"""Published audio from a real server on the loopback: archives in parts, single files, and hosts that fail."""

from __future__ import annotations

import hashlib
import io
import re
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from datasets.corpora import find
from datasets.corpora.base import Archive, CorpusFile, Definition, cut
from datasets.tables import CorpusError
from preprocess.downloads import download


@dataclass
class Host:
    """What a server has, and what it was asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    cut_after: int | None = None


@pytest.fixture
def host(monkeypatch) -> Iterator[Host]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Host()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name, wanted = self.path.lstrip("/"), self.headers.get("Range")
            state.asked.append((name, wanted))
            if name not in state.files:
                self.send_error(404)
                return
            content = state.files[name]
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start : state.cut_after])

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{httpd.server_port}"
    yield state
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def zipped(files: dict[str, bytes]) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return whole.getvalue()


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def mtt(host) -> tuple[Definition, tuple, dict[str, bytes]]:
    """Five clips of MagnaTagATune in an archive of three parts."""
    items = find("mtt").items()[::6000]
    files = {item.id: item.id.encode() * 9 for item in items}
    content = zipped(files)
    pieces = content[:500], content[500:900], content[900:]
    host.files = {f"mp3.zip.00{number}": piece for number, piece in enumerate(pieces, 1)}
    parts = tuple(CorpusFile(name, f"{host.url}/{name}", sha(piece)) for name, piece in host.files.items())
    return replace(find("mtt"), archives=(Archive(parts, "mp3"),)), items, files


def test_an_archive_in_parts_is_fetched_once_and_unpacked(mtt, host, tmp_path):
    definition, items, files = mtt
    said = []
    download(definition, items, tmp_path / "new", said.append, progress=False)
    for name, content in files.items():
        assert (tmp_path / "new" / "mp3" / name).read_bytes() == content
    assert [name for name, _ in host.asked] == ["mp3.zip.001", "mp3.zip.002", "mp3.zip.003"]
    assert "5 files unpacked" in said[0]
    download(definition, items, tmp_path / "new", said.append, progress=False)
    assert len(host.asked) == 3
    (tmp_path / "new" / "mp3" / items[0].id).unlink()
    download(definition, items, tmp_path / "new", said.append, progress=False)
    assert len(host.asked) == 3
    assert "1 files unpacked" in said[1]


def test_an_interrupted_download_goes_on(mtt, host, tmp_path):
    definition, items, files = mtt
    host.cut_after = 300
    with pytest.raises(CorpusError, match="Try again to go on where it stopped"):
        download(definition, items, tmp_path, print, progress=False)
    host.cut_after = None
    download(definition, items, tmp_path, print, progress=False)
    assert host.asked[:2] == [("mp3.zip.001", None), ("mp3.zip.001", "bytes=300-")]
    assert (tmp_path / "mp3" / items[0].id).read_bytes() == files[items[0].id]


def test_a_file_with_another_checksum_is_refused(mtt, host, tmp_path):
    definition, items, _ = mtt
    whole = host.files["mp3.zip.002"]
    host.files["mp3.zip.002"] = whole[::-1]
    with pytest.raises(CorpusError, match=r"mp3\.zip\.002 as published has .*; deleted again"):
        download(definition, items, tmp_path, print, progress=False)
    assert not (tmp_path / "mp3.zip.002.part").exists()
    (tmp_path / "mp3.zip.002").write_bytes(b"by hand")
    with pytest.raises(CorpusError, match="delete it"):
        download(definition, items, tmp_path, print, progress=False)
    (tmp_path / "mp3.zip.002").write_bytes(whole)
    download(definition, items, tmp_path, print, progress=False)


def test_a_host_that_is_gone_tells_what_to_put_where(mtt, host, tmp_path):
    definition, items, _ = mtt
    host.files.clear()
    with pytest.raises(CorpusError) as caught:
        download(definition, items, tmp_path, print, progress=False)
    for text in (
        "mp3.zip.001 cannot be downloaded from http",
        "Not Found",
        f"put the file into {tmp_path} by hand",
    ):
        assert text in str(caught.value)


@pytest.fixture
def songs(host) -> tuple[Definition, tuple]:
    """Three songs of GiantSteps, one of them not there, with their checksums in an archive."""
    items = find("giantsteps_key").items()[:3]
    host.files = {f"{item.name}.LOFI.mp3": item.name.encode() * 50 for item in items}
    sums = {f"key-1/md5/{name.removesuffix('mp3')}md5": hashlib.md5(content).hexdigest().encode()
            for name, content in host.files.items()}  # fmt: skip
    del host.files[f"{items[1].name}.LOFI.mp3"]
    host.files["key.zip"] = zipped(sums)
    archive = Archive((CorpusFile("key.zip", f"{host.url}/key.zip", "0" * 64, promised=False),))
    return replace(find("giantsteps_key"), archives=(archive,), url=f"{host.url}/{{name}}.LOFI.mp3"), items


def test_songs_are_fetched_one_by_one_and_what_is_not_there_is_counted(songs, host, tmp_path):
    definition, items = songs
    said = []
    download(definition, items, tmp_path, said.append, progress=False)
    there = [(tmp_path / definition.place(item)).is_file() for item in items]
    assert there == [True, False, True]
    assert any("another SHA-256 than once" in line for line in said)
    assert any("1 of 3 files are not there" in line and "(404)" in line for line in said)
    before = len(host.asked)
    download(definition, items, tmp_path, said.append, progress=False)
    assert len(host.asked) == before + 1


def test_a_song_with_another_md5_is_left_out(songs, host, tmp_path):
    definition, items = songs
    host.files[f"{items[0].name}.LOFI.mp3"] = b"another song"
    said = []
    download(definition, items, tmp_path, said.append, progress=False)
    assert not (tmp_path / definition.place(items[0])).exists()
    assert any("another MD5" in line for line in said)


def test_a_host_that_breaks_off_among_songs_says_how_far_it_came(songs, host, tmp_path):
    definition, items = songs
    host.cut_after = 60
    (tmp_path / "key.zip").write_bytes(host.files["key.zip"])
    with pytest.raises(CorpusError, match="0 of 3 files were"):
        download(definition, items, tmp_path, print, progress=False)


def test_what_cannot_be_downloaded_is_told(tmp_path):
    items = (*cut(find("gtzan").items(), ["jazz.00054"]),)
    with pytest.raises(CorpusError, match="cannot be downloaded from here: get genres"):
        download(replace(find("gtzan"), archives=()), items, tmp_path, print)


def test_every_published_file_has_an_address_and_a_checksum():
    for name in ("mtt", "gtzan", "giantsteps_key", "giantsteps_mtg_key", "emomusic"):
        for archive in find(name).archives:
            for file in archive.parts:
                assert re.fullmatch("[0-9a-f]{64}", file.sha256), file.name
                assert file.url.startswith("http"), file.name
                assert Path(file.name).name == file.name
