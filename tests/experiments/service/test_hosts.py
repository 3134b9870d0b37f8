"""Which names of the service are taken for its own, and which pages for its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from experiments.service.hosts import Authority, Names, check_fetch
from experiments.service.problems import ServiceError
from experiments.settings import ServiceSettings

PORT = 8000


def status(call, *arguments) -> int:
    """Of the refusal; 200: there is none."""
    try:
        call(*arguments)
    except ServiceError as error:
        return error.status
    return 200


@pytest.mark.parametrize(
    ("settings", "host", "expected"),
    [
        ({}, "127.0.0.1:8000", 200),
        ({}, "localhost:8000", 200),
        ({}, "LocalHost.:8000", 200),
        ({}, "[::1]:8000", 200),
        ({}, "[0:0::1]:8000", 200),
        ({}, "localhost", 421),
        ({}, "localhost:80", 421),
        ({}, "192.168.1.5:8000", 421),
        ({}, "evil.example:8000", 421),
        ({}, "localhost.evil.example:8000", 421),
        ({}, "127.1:8000", 421),
        ({}, "0x7f000001:8000", 421),
        ({}, None, 400),
        ({}, "", 400),
        ({}, ":8000", 400),
        ({}, "localhost:", 400),
        ({}, "localhost:0", 400),
        ({}, "localhost:99999", 400),
        ({}, "localhost:8000/", 400),
        ({}, "a@localhost:8000", 400),
        ({}, "local host:8000", 400),
        ({}, "localhost:8000, evil.example", 400),
        ({}, "[::1:8000", 400),
        ({}, "[evil]:8000", 400),
        ({}, "m\u00fcsic.example:8000", 400),
        ({"host": "127.0.0.5"}, "127.0.0.5:8000", 200),
        ({"host": "::1"}, "[::1]:8000", 200),
        ({"hosts": ["music.example.org"]}, "music.example.org", 200),
        ({"hosts": ["music.example.org"]}, "Music.Example.org:443", 200),
        ({"hosts": ["music.example.org"]}, "music.example.org:8000", 200),
        ({"hosts": ["music.example.org"]}, "music.example.org:81", 421),
        ({"hosts": ["music.example.org:81"]}, "music.example.org:81", 200),
        ({"hosts": ["music.example.org:81"]}, "music.example.org", 421),
        ({"hosts": ["music.example.org"]}, "www.music.example.org", 421),
        ({"hosts": ["localhost:9000"]}, "localhost:9000", 200),
        ({"host": "0.0.0.0", "open": True}, "192.168.1.5:8000", 200),
        ({"host": "0.0.0.0", "open": True}, "192.168.1.5:9000", 200),
        ({"host": "::", "open": True}, "[fd00::5]:8000", 200),
        ({"host": "0.0.0.0", "open": True}, "localhost:9000", 200),
        ({"host": "0.0.0.0", "open": True}, "evil.example:8000", 421),
        ({"host": "music.lan", "open": True}, "music.lan:8000", 200),
    ],
)
def test_a_request_names_the_service(settings, host, expected):
    assert status(Names(ServiceSettings(**settings), PORT).check_host, host) == expected


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        ("http://localhost:8000", "localhost:8000", 200),
        ("http://LOCALHOST:8000", "localhost:8000", 200),
        ("http://[::1]:8000", "[0::1]:8000", 200),
        ("http://music.example.org", "music.example.org:80", 200),
        ("http://music.example.org:80", "music.example.org", 200),
        ("https://music.example.org", "music.example.org", 200),
        ("https://music.example.org", "127.0.0.1:8000", 200),  # of a proxy that puts its own address in the place
        ("https://localhost:8000", "localhost:8000", 403),
        ("http://localhost:3000", "localhost:8000", 403),
        ("http://127.0.0.1:8000", "localhost:8000", 403),
        ("http://evil.example", "localhost:8000", 403),
        ("http://music.example.org.evil.example", "music.example.org", 403),
        ("https://music.example.org:8443", "music.example.org", 403),
        ("null", "localhost:8000", 403),
        ("", "localhost:8000", 403),
        ("file://", "localhost:8000", 403),
        ("http://", "localhost:8000", 403),
        ("http://localhost:8000/", "localhost:8000", 403),
        ("http://a@localhost:8000", "localhost:8000", 403),
        ("ftp://localhost:8000", "localhost:8000", 403),
        ("http://localhost:8000 http://evil.example", "localhost:8000", 403),
        ("chrome-extension://abcdef", "localhost:8000", 403),
    ],
)
def test_a_page_is_the_services_own(origin, host, expected):
    names = Names(ServiceSettings(hosts=["music.example.org"]), PORT)
    assert status(names.check_origin, origin, names.check_host(host)) == expected


@pytest.mark.parametrize(
    ("site", "mode", "dest", "method", "path", "expected"),
    [
        (None, None, None, "POST", "/v1/predict", 200),  # no browser
        ("same-origin", "cors", "empty", "POST", "/v1/predict", 200),
        ("none", "navigate", "document", "GET", "/v1/models", 200),  # typed
        ("cross-site", "navigate", "document", "GET", "/", 200),  # a link
        ("same-site", "navigate", "document", "GET", "/docs", 200),
        ("cross-site", "navigate", "document", "POST", "/", 403),
        ("cross-site", "navigate", "document", "GET", "/v1/models", 403),
        ("cross-site", "navigate", "iframe", "GET", "/", 403),
        ("cross-site", "no-cors", "image", "GET", "/", 403),
        ("cross-site", "cors", "empty", "POST", "/v1/predict", 403),
        ("same-site", "cors", "empty", "GET", "/v1/models", 403),
        ("anything", None, None, "GET", "/v1/models", 403),
    ],
)
def test_other_sites_may_lead_to_the_page_alone(site, mode, dest, method, path, expected):
    assert status(check_fetch, site, mode, dest, method, path) == expected


@given(st.text(max_size=30))
def test_any_text_is_an_authority_or_none(text):
    found = Authority.of(text)
    if found:
        name = f"[{found.name}]" if ":" in found.name else found.name
        assert Authority.of(name if found.port is None else f"{name}:{found.port}") == found


def test_hosts_are_names():
    for wrong in ("https://music.example.org", "music.example.org/a", "a b", ""):
        with pytest.raises(ValidationError, match="is no name with or without a port"):
            ServiceSettings(hosts=[wrong])
