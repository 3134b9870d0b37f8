"""Weights at an address: from a real server on the loopback, once, checked, never another kind of file."""

from __future__ import annotations

import hashlib
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from experiments.checkpoint_files import checkpoint_file
from experiments.encoder import Encoder
from experiments.errors import UserError
from models import published_taggers, weight_urls
from models.errors import CheckpointError
from models.fcn import FCN
from models.weight_urls import fetch_url, is_url

CONTENT = bytes(range(256)) * 5000
SUM = hashlib.sha256(CONTENT).hexdigest()
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1902811\n"


class Server:
    """What the server has by path, where it sends one elsewhere, how much of a file it gives, and what was asked."""

    def __init__(self) -> None:
        self.url, self.files, self.elsewhere, self.asked = "", {"/best_model.pth": CONTENT}, {}, []
        self.cut: int | None = None
        self.tells_length = True


@pytest.fixture
def server(monkeypatch, tmp_path) -> Iterator[Server]:
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.asked.append((self.path, self.headers.get("Range")))
            if self.path in state.elsewhere:
                self.send_response(302)
                self.send_header("Location", state.elsewhere[self.path])
                self.end_headers()
                return
            content = state.files.get(self.path.partition("?")[0])
            if content is None:
                self.send_error(404)
                return
            start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if state.tells_length:
                self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start : state.cut])

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


def test_what_is_an_address():
    assert all(map(is_url, ("https://a/b", "http://a/b", "file:///a", "ftp://a")))
    assert not any(map(is_url, ("a/b.pth", "/a/b", "discogs-maest-5s-pw-129e", "C:\\weights.pth")))


def test_downloaded_once_and_its_sum_is_told(server, capfd):
    path = fetch_url(f"{server.url}/best_model.pth")
    assert path.read_bytes() == CONTENT
    assert f"1.3 MB, SHA-256 {SUM}" in capfd.readouterr().err
    assert fetch_url(f"{server.url}/best_model.pth", SUM.upper()) == path
    assert fetch_url(f"{server.url}/best_model.pth#sha256={SUM}") == path
    assert checkpoint_file(f"{server.url}/best_model.pth") == path
    assert server.asked == [("/best_model.pth", None)]
    assert fetch_url(f"{server.url}/best_model.pth?key=hemiola99") != path
    assert "hemiola99" not in capfd.readouterr().err


def test_the_sum_is_computed_again_after_a_change(server):
    path = fetch_url(f"{server.url}/best_model.pth", SUM)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(CheckpointError, match=f"expected {SUM}; if the one that is expected is right, delete"):
        fetch_url(f"{server.url}/best_model.pth", SUM)


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"bytes": 1280000, "changed": 0, "sha256": "0"}', "[" * 10_000])
def test_a_damaged_note_is_not_believed(server, note):
    path = fetch_url(f"{server.url}/best_model.pth")
    path.with_name("best_model.pth.verified").write_text(note)
    assert fetch_url(f"{server.url}/best_model.pth", SUM) == path


@pytest.mark.parametrize(
    ("fragment", "given", "message"),
    [
        ("", "0" * 64, f"has the SHA-256 {SUM}, expected 0000"),
        (f"#sha256={SUM}", "0" * 64, "two different checksums are given"),
        ("#sha256=12", None, "'12' is no SHA-256, expected 64 hexadecimal digits"),
        ("#md5=12", None, "expected nothing behind #, or #sha256="),
    ],
)
def test_another_sum(server, fragment, given, message):
    with pytest.raises(CheckpointError, match=message):
        fetch_url(f"{server.url}/best_model.pth{fragment}", given)


@pytest.mark.parametrize("place", published_taggers.PLACES)
def test_the_sums_of_the_published_files_are_known_by_their_addresses(place):
    sums = published_taggers.PLACES
    for host in ("media.githubusercontent.com/media", "raw.githubusercontent.com"):
        url = f"https://{host}/minzwon/sota-music-tagging-models/master/models/{place}/best_model.pth"
        assert published_taggers.sum_at(url) == sums[place]
    assert published_taggers.sum_at(f"https://elsewhere/models/{place}/best_model.pth") is None
    assert published_taggers.sum_at("https://github.com/minzwon/sota-music-tagging-models/") is None


def test_a_file_that_is_not_the_one_known_at_its_address(server):
    server.files["/minzwon/sota-music-tagging-models/models/mtat/fcn/best_model.pth"] = CONTENT
    with pytest.raises(CheckpointError, match=f"has the SHA-256 {SUM}, expected 3bfc67e43f3e"):
        fetch_url(f"{server.url}/minzwon/sota-music-tagging-models/models/mtat/fcn/best_model.pth")


@pytest.mark.parametrize("given", [SUM, None])
def test_an_interrupted_download_goes_on_where_its_sum_is_known(server, given):
    server.cut = 100_000
    with pytest.raises(CheckpointError, match=r"ended after 100000 of 1280000 bytes.*Try again"):
        fetch_url(f"{server.url}/best_model.pth", given)
    server.cut = None
    assert fetch_url(f"{server.url}/best_model.pth", given).read_bytes() == CONTENT
    assert server.asked[-1] == ("/best_model.pth", "bytes=100000-" if given else None)


@pytest.mark.parametrize("tells_length", [True, False])
def test_a_file_that_is_too_large(server, monkeypatch, tells_length, tmp_path):
    monkeypatch.setattr(weight_urls, "LARGEST", 1_000_000)
    server.tells_length = tells_length
    with pytest.raises(CheckpointError, match="1,000,000 at most are taken; download it yourself and name the file"):
        fetch_url(f"{server.url}/best_model.pth")
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 0] == []


def test_the_pointer_of_a_large_file_is_named_with_the_address_to_take(server, monkeypatch):
    server.files["/pointer"] = POINTER
    with pytest.raises(CheckpointError, match=r"pointer of a file in Git LFS .*; take the address from which Git LFS"):
        fetch_url(f"{server.url}/pointer")
    monkeypatch.setattr(weight_urls, "transfer", lambda url, part, **_: part.write_bytes(POINTER))
    media = "https://media.githubusercontent.com/media/owner/name/master/models/a.pth"
    for place in ("raw.githubusercontent.com/owner/name/", "github.com/owner/name/raw/", "github.com/owner/name/blob/"):
        with pytest.raises(CheckpointError, match=f"take {media}"):
            fetch_url(f"https://{place}master/models/a.pth")


def test_a_web_page_and_a_missing_file(server):
    server.files["/page"] = b"\n<!DOCTYPE html><html>"
    with pytest.raises(CheckpointError, match="gives a web page, not a file of weights"):
        fetch_url(f"{server.url}/page")
    with pytest.raises(CheckpointError, match=r"cannot download .*/missing \(Not Found\)"):
        fetch_url(f"{server.url}/missing")


@pytest.mark.parametrize(
    "url", ["http://example.org/a.pth", "ftp://127.0.0.1/a.pth", "file:///etc/passwd", "https:///a.pth", "https://[a/b"]
)
def test_other_addresses_are_refused(server, url):
    with pytest.raises(CheckpointError, match=r"expected an address that begins with https://|is not readable"):
        fetch_url(url)


def test_a_password_is_refused_and_not_repeated():
    with pytest.raises(CheckpointError, match="leave name and password out") as caught:
        fetch_url("https://me:hemiola99@example.org/a.pth")
    assert "hemiola99" not in str(caught.value)


@pytest.mark.parametrize("target", ["http://example.org/a.pth", "file:///etc/passwd", "ftp://example.org/a"])
def test_a_redirection_leads_nowhere_else(server, target):
    server.elsewhere["/away"] = target
    with pytest.raises(CheckpointError, match=r"expected an address that begins with https://|cannot download"):
        fetch_url(f"{server.url}/away")


def test_a_redirection_within_is_followed_and_names_stay_in_the_cache(server, tmp_path):
    server.elsewhere["/a/..%2f..%2f.hidden"] = "/best_model.pth"
    path = fetch_url(f"{server.url}/a/..%2f..%2f.hidden")
    assert path.read_bytes() == CONTENT
    assert path.resolve().is_relative_to(tmp_path / "cache" / "weights" / "urls")
    assert not path.name.startswith(".")


def test_a_network_at_an_address_with_the_tags_of_a_corpus(server, tmp_path):
    torch.save(FCN(channels=[4] * 5).state_dict(), tmp_path / "fcn.pth")
    server.files["/fcn.pth"] = (tmp_path / "fcn.pth").read_bytes()
    digest = hashlib.sha256(server.files["/fcn.pth"]).hexdigest()
    encoder = Encoder.load(f"{server.url}/fcn.pth", labels="msd", sha256=digest)
    assert encoder.labels == published_taggers.MSD
    assert encoder.weights == f"sha256 {digest[:16]}"
    assert Encoder.load(str(tmp_path / "fcn.pth"), labels="jamendo", sha256=digest).labels == published_taggers.JAMENDO
    with pytest.raises(UserError, match=r"expected 0000.*; give the right file, or leave the sum out"):
        Encoder.load(str(tmp_path / "fcn.pth"), sha256="0" * 64)


def test_nobody_is_led_from_https_to_a_service_of_this_machine():
    asked = urllib.request.Request("https://weights.example/best_model.pth")
    with pytest.raises(CheckpointError, match="expected an https:// address"):
        weight_urls._Redirects().redirect_request(asked, None, 302, "", {}, "http://127.0.0.1:8080/best_model.pth")
