"""Names of classes, from lists in every published form."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets.label_names import display_name, read_names
from datasets.tables import CorpusError

NAMES = ("Rock---Punk", "Folk, World, & Country---Éntekhno", "Jazz---Bebop")
BY_NUMBER = {str(number): name for number, name in enumerate(NAMES)}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.txt", "\n".join(NAMES) + "\n\n"),
        ("labels.csv", "\ufeff" + "\r\n".join(NAMES)),
        ("list.json", json.dumps(NAMES)),
        ("essentia.json", json.dumps({"name": "discogs-maest", "classes": NAMES})),
        ("config.json", json.dumps({"model_type": "x", "id2label": dict(sorted(BY_NUMBER.items(), reverse=True))})),
        ("numbers.json", json.dumps(BY_NUMBER)),
    ],
)
def test_lists_in_every_published_form(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    assert read_names(tmp_path / name) == NAMES


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.txt", None, "no such file; expected a text file with one class name a line, a JSON"),
        ("empty.txt", b"\n \n", "no class names in it"),
        ("latin.txt", "Éntekhno".encode("latin-1"), r"not UTF-8 .*byte 0\)"),
        ("torn.json", b'["a", ', "not JSON"),
        ("other.json", b'{"name": "x"}', "no list of class names"),
        ("gaps.json", b'{"0": "a", "2": "b"}', "no list of class names"),
        ("mixed.json", b'["a", 1]', "no list of class names"),
        ("number.json", b"3", "no list of class names"),
        ("deep.json", b"[" * 100_000, "not JSON, or nested too deep"),
        ("deep.json", b'{"classes": ' * 500 + b"1" + b"}" * 500, "no list of class names"),
        ("long.json", b"1" * 5000, "not JSON"),
        ("empty.json", b'["a", " "]', "no list of class names"),
        ("half.json", b'["a", "\\ud800"]', "half a letter"),
        ("odd.json", b'{"id2label": 5}', "no list of class names"),
        ("twice.txt", b"oud\nkora\noud\n", "'oud' is listed twice"),
    ],
)
def test_other_files_are_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        read_names(tmp_path / name)


@pytest.mark.parametrize(
    ("label", "displayed"),
    [
        ("Rock---Punk", "Punk (Rock)"),
        ("Folk, World, & Country---Éntekhno", "Éntekhno (Folk, World, & Country)"),
        ("guitar", "guitar"),
        ("Rock---", "Rock---"),
        ("---Punk", "---Punk"),
        ("drum-and-bass", "drum-and-bass"),
    ],
)
def test_styles_are_displayed_with_their_genre_behind(label, displayed):
    assert display_name(label) == displayed


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
SLOW = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SLOW
@given(
    st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()), st.sampled_from(["a.json", "a.txt"])
)
def test_any_file_gives_names_or_is_refused(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    names = ("refused",)
    with contextlib.suppress(CorpusError):
        names = read_names(tmp_path / name)
    assert names
    assert all(isinstance(one, str) and one for one in names)
