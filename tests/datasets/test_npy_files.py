"""Files of arrays: read as numpy reads them, refused where they are damaged."""

from __future__ import annotations

import contextlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets.npy_files import read_npy, read_npz

ARRAYS = [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.ones((2, 3), ">i2")), np.array(["a", "été"]), np.array(3)]
SLOW = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def header(shape: str, descr: str = "'<f8'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize("array", ARRAYS)
def test_arrays_come_back(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "a.npz", one=array, other=array)
    for found in (read_npy(tmp_path / "a.npy"), *read_npz(tmp_path / "a.npz").values()):
        assert found.dtype == array.dtype
        assert np.array_equal(found, array)
        assert found.flags.writeable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged header|EOF"),
        (header("(1000000000000,)"), "bytes do not hold the values"),
        (header("(-1,)"), "a shape of"),
        (header("(3,)") + bytes(20), "bytes do not hold|ends early"),
        (header("(1,)", "'|O'") + bytes(8), "an array of objects"),
        (header("(" * 3000), "header"),
        (header("-" * 6000 + "1"), "header"),
        (b"PK\x03\x04", "several arrays in one archive"),
        (b"\x93NUMPY\x09\x00", "version"),
    ],
)
def test_what_is_no_array_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=f"(?is){message}"):
        read_npy(tmp_path / "a.npy")


def test_an_archive_that_unfolds_beyond_measure_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", header("(1000000000000,)") + bytes(1000))
    with pytest.raises(ValueError, match="do not hold the values"):
        read_npz(tmp_path / "a.npz")


@SLOW
@given(st.data(), st.booleans())
def test_any_damage_is_read_or_refused(tmp_path: Path, data: st.DataObject, packed: bool) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=ARRAYS[0], b=ARRAYS[2]) if packed else np.save(buffer, ARRAYS[0])
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    (tmp_path / "a").write_bytes(content)
    found = None
    with contextlib.suppress(ValueError):
        found = (read_npz if packed else read_npy)(tmp_path / "a")
    assert found is None or isinstance(found, dict | np.ndarray)
