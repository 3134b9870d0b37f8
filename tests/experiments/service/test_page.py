"""The files of the page: which are served, with which headers, and what they load and look like."""

from __future__ import annotations

import gzip
import itertools
import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from experiments.service.page import FILES, FOLDER, add_page
from preprocess.files import SUFFIXES

MOST = 60_000  # bytes that are sent for the page
READABLE = 4.5  # contrast of text, WCAG 2.2, 1.4.3 (AA)


@pytest.fixture(scope="module")
def client():
    app = FastAPI(docs_url=None, redoc_url=None)
    add_page(app)
    return TestClient(app)


def texts() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}


def test_all_files_of_the_folder_are_served_and_no_others(client):
    assert {name for name, _ in FILES.values()} == set(texts())
    for address, (name, kind) in FILES.items():
        answer = client.get(address)
        assert (answer.status_code, answer.text, answer.headers["content-type"]) == (200, texts()[name], kind)
        assert client.head(address).status_code == 200
    for address in (
        "/index.html",
        "/page.py",
        "/../page.py",
        "/%2e%2e/page.py",
        "/page/main.js",
        "/main.js/",
        "/redoc",
    ):
        assert client.get(address, follow_redirects=False).status_code in (307, 404)
    assert client.post("/").status_code == 405
    assert client.get("/openapi.json").json()["paths"] == {}


@pytest.mark.parametrize("address", ["/", "/docs", "/main.js", "/style.css"])
def test_nothing_of_another_host_may_be_loaded_and_no_other_page_may_frame_it(client, address):
    headers = client.get(address).headers
    policy = dict(one.split(" ", 1) for one in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"


def test_a_file_that_the_browser_has_is_not_sent_again(client):
    for encoding in ("gzip", "identity"):
        first = client.get("/main.js", headers={"Accept-Encoding": encoding})
        assert first.headers.get("content-encoding", "identity") == encoding
        assert first.headers["cache-control"] == "no-cache"
        known = {"If-None-Match": f'"other", {first.headers["etag"]}'}
        again = client.get("/main.js", headers=known)
        assert (again.status_code, again.content, "content-security-policy" in again.headers) == (304, b"", True)
    assert client.get("/main.js", headers={"If-None-Match": '"other"'}).status_code == 200
    assert client.get("/main.js").headers["etag"] != client.get("/list.js").headers["etag"]


def test_the_page_is_light():
    assert sum(len(gzip.compress(text.encode())) for text in texts().values()) < MOST / 2


def test_its_files_load_each_other_alone():
    for name, text in texts().items():
        loaded = re.findall(r'(?:from|import|src=|href=)\s*\(?"([^"]+)"', text)
        known = {*FILES, "/openapi.json", *(f"./{file}" for file in texts())}
        assert set(loaded) <= known, name
        addresses = re.findall(r"\bhttps?://[^\s\"'`)]+", text)
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, name


def test_texts_become_text_and_never_markup_or_code():
    for name, text in texts().items():
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            name
        )
    for name in ("index.html", "docs.html"):
        assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?! type=\"module\" src=)", texts()[name])


def test_it_takes_the_files_of_a_folder_that_the_service_takes():
    words = re.search(r"SUFFIXES = new Set\((.*?)\.split", texts()["files.js"], re.DOTALL)[1]
    assert {f".{word}" for word in re.findall(r"[a-z0-9]+", words)} == SUFFIXES


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_all_text_is_readable_on_all_that_it_stands_on(scheme):
    blocks = re.findall(r":root \{(.*?)\}", texts()["style.css"], re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", blocks[scheme]))
    pairs = [*itertools.product(("ink", "muted", "accent", "problem"), ("ground", "surface", "track"))]
    for text, ground in [*pairs, ("on-accent", "accent")]:
        low, high = sorted((luminance(colours[text]), luminance(colours[ground])))
        assert (high + 0.05) / (low + 0.05) >= READABLE, (text, ground)
