"""Fetching a published file from a real server on the loopback: whole, resumed, verified, or refused."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from models import download
from models.download import fetch, weights_dir
from models.errors import CheckpointError
from models.releases import Release

CONTENT = bytes(range(256)) * 9000


@dataclass
class Server:
    """What the server does, and what it was asked for."""

    url: str = ""
    ranges: list[str | None] = field(default_factory=list)
    supports_ranges: bool = True
    cut_after: int | None = None


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            state.ranges.append(asked)
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and state.supports_ranges else 0
            if start >= len(CONTENT):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start : state.cut_after])

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{httpd.server_port}/weights.ckpt"
    yield state
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "weights"


@pytest.fixture
def release(server) -> Release:
    digest = hashlib.sha256(CONTENT).hexdigest()
    return Release("ours", server.url, digest, len(CONTENT), "maest_5s", {}, 400, 312, "none")


def test_the_cache_folder(cache, monkeypatch, tmp_path):
    assert weights_dir() == cache
    monkeypatch.delenv("OSTINATO_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert weights_dir() == tmp_path / "home" / ".cache" / "ostinato" / "weights"


def test_downloaded_once_and_verified_once(server, release, cache, monkeypatch):
    path = fetch(release)
    assert path == cache / "weights.ckpt"
    assert path.read_bytes() == CONTENT
    assert not path.with_name("weights.ckpt.part").exists()
    monkeypatch.setattr(download, "_verify", lambda *_: pytest.fail("hashed again"))
    assert fetch(release) == path
    assert server.ranges == [None]


def test_f27_an_interrupted_download_goes_on(server, release, cache):
    server.cut_after = 100_000
    with pytest.raises(CheckpointError, match="the connection ended after 100000 of 2304000 bytes"):
        fetch(release)
    assert not (cache / "weights.ckpt").exists()
    server.cut_after = None
    assert fetch(release).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-"]


def test_a_server_without_ranges_starts_anew(server, release, cache):
    server.supports_ranges = False
    cache.mkdir()
    (cache / "weights.ckpt.part").write_bytes(b"x" * 1000)
    assert fetch(release).read_bytes() == CONTENT


@pytest.mark.parametrize("extra", [0, 10])
def test_a_part_that_is_already_long_enough(server, release, cache, extra):
    cache.mkdir()
    (cache / "weights.ckpt.part").write_bytes(CONTENT + b"x" * extra)
    assert fetch(release).read_bytes() == CONTENT


def test_a_file_put_there_by_hand_is_taken(server, release, cache):
    cache.mkdir()
    (cache / "weights.ckpt").write_bytes(CONTENT)
    fetch(release)
    assert server.ranges == []


@pytest.mark.parametrize("content", [CONTENT[:-1], b"x" + CONTENT[1:]], ids=["short", "changed"])
def test_a_file_that_is_not_the_published_one_is_named_and_kept(server, release, cache, content):
    cache.mkdir()
    path = cache / "weights.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.ckpt has .*, ours has .*: delete it"):
        fetch(release)
    assert path.read_bytes() == content


def test_a_verified_file_that_changes_is_hashed_again(release, cache):
    path = fetch(release)
    path.write_bytes(b"x" + CONTENT[1:])
    with pytest.raises(CheckpointError, match="SHA-256"):
        fetch(release)


def test_f27_a_wrong_download_is_not_kept(release, cache):
    with pytest.raises(CheckpointError, match="it was removed; try again"):
        fetch(replace(release, sha256="0" * 64))
    assert [path.name for path in cache.iterdir()] == ["weights.ckpt.lock"]


def test_the_beginning_of_a_sum_is_enough_where_no_more_is_published(release):
    assert fetch(replace(release, sha256=release.sha256[:8], bytes=None)).read_bytes() == CONTENT


def test_without_a_network_the_error_says_what_to_do(release, cache):
    unreachable = replace(release, url="http://127.0.0.1:9/weights.ckpt")
    with pytest.raises(CheckpointError) as caught:
        fetch(unreachable, hint="Random weights: maest_10s_random_weights_pretrain.")
    for part in ("weights.ckpt", unreachable.url, str(cache), "maest_10s_random_weights_pretrain"):
        assert part in str(caught.value)


def test_several_at_once_download_once(server, release):
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(fetch, [release] * 4))
    assert len(paths) == 1
    assert server.ranges == [None]


def test_a_cache_that_cannot_be_written(release, cache, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "file"))
    with pytest.raises(CheckpointError, match=r"cannot keep weights\.ckpt in .*; set OSTINATO_CACHE"):
        fetch(release)
