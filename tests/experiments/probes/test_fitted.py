"""Files of probes: read as they were kept, refused by name and key where they are damaged."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from experiments.errors import UserError
from experiments.probes.fitted import FORMAT, FittedProbe
from experiments.tasks import build
from models.probes.grids import ProbeConfig

TASK = build("tagging", classes=["a", "b"])
SLOW = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def probe(hidden: int | None = None, blocks: int = 1) -> FittedProbe:
    shapes = {"0.weight": (hidden or 2, 3), "0.bias": (hidden or 2,)}
    shapes |= {"1.weight": (2, hidden), "1.bias": (2,)} if hidden else {}
    shapes |= {"blocks": (blocks,)} if blocks > 1 else {}
    weights = {name: np.full(shape, 0.5, "f4") for name, shape in shapes.items()}
    mean, scale = np.zeros(3 * blocks), np.ones(3 * blocks)
    features = {"kind": "embeddings", "producer": {"block": 1}}
    return FittedProbe(TASK, ProbeConfig(hidden=hidden), 0, weights, mean, scale, features, 0.5, 1.0, 0, 8, ((0, 0.5),))


def changed(path: Path, document: dict | None = None, **arrays: np.ndarray | None) -> Path:
    """A kept probe with other entries in its header or other arrays."""
    one = probe()
    one.save(path)
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as handle:
        metadata = json.loads(handle.metadata()["probe"])
    metadata = {name: value for name, value in {**metadata, **(document or {})}.items() if value != "-"}
    kept = {name: array for name, array in {**load_file(path), **arrays}.items() if array is not None}
    save_file(kept, path, {"format": FORMAT, "probe": json.dumps(metadata)})
    return path


@pytest.mark.parametrize(("hidden", "blocks"), [(None, 1), (4, 1), (None, 2), (4, 3)])
def test_a_kept_probe_comes_back(tmp_path: Path, hidden: int | None, blocks: int) -> None:
    one = probe(hidden, blocks)
    again = FittedProbe.load(one.save(tmp_path / "probe.safetensors"))
    assert (again.config, again.curve, again.features, again.task.options) == (
        one.config,
        one.curve,
        one.features,
        one.task.options,
    )
    x = np.ones((2, 3 * blocks), "f4")
    assert np.array_equal(again.predict(x), one.predict(x))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"seed": "x"}, "seed: "),
        ({"curve": [[1]]}, "curve.0.1: "),
        ({"config": 5}, "config: "),
        ({"config": {"hidden": "wide"}}, "config.hidden: "),
        ({"features": []}, "features: "),
        ({"loss": "-"}, "loss: "),
        ({"extra": 1}, "extra: "),
        ({"options": {"classes": 5}}, "its task cannot be built"),
        ({"options": {"colours": 5}}, "its task cannot be built"),
        ({"task": "cooking"}, "its task cannot be built"),
        ({"options": {"classes": ["a", "b", "c"]}}, "0.bias has the shape"),
    ],
)
def test_headers_name_their_entry(tmp_path: Path, document: dict, message: str) -> None:
    with pytest.raises(UserError, match=rf"probe\.safetensors.*{message}"):
        FittedProbe.load(changed(tmp_path / "probe.safetensors", document))


@pytest.mark.parametrize("header", ["[]", "5", "", "[" * 100_000])
def test_headers_that_are_no_object(tmp_path: Path, header: str) -> None:
    save_file({"a": np.ones(1)}, tmp_path / "probe.safetensors", {"format": FORMAT, "probe": header})
    with pytest.raises(UserError, match=r"probe\.safetensors: its header 'probe'"):
        FittedProbe.load(tmp_path / "probe.safetensors")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"scaler.mean": None}, r"scaler.mean has the shape \(\)"),
        ({"0.weight": np.ones((2, 4), "f4")}, "0.weight has the shape"),
        ({"0.bias": np.ones((3,), "f4")}, "0.bias has the shape"),
        ({"1.weight": np.ones((2, 2), "f4")}, "1.bias has the shape None"),
        ({"more": np.ones(1)}, "more has the shape"),
        ({"blocks": np.ones(0)}, r"scaler.mean has the shape \(3,\) for \(0,\) blocks"),
        ({"0.bias": np.array([1, np.nan], "f4")}, "0.bias holds values that are not finite"),
        ({"0.bias": np.array([1, 2])}, "0.bias holds values"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, arrays: dict, message: str) -> None:
    with pytest.raises(UserError, match=rf"probe\.safetensors: ({message})"):
        FittedProbe.load(changed(tmp_path / "probe.safetensors", **arrays))


@SLOW
@given(st.data())
def test_any_damage_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    path = probe().save(tmp_path / "probe.safetensors")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path.write_bytes(content)
    found = None
    with contextlib.suppress(UserError):
        found = FittedProbe.load(path)
    assert found is None or found.predict(np.ones((1, 3))).shape == (1, 2)
