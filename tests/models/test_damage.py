"""Files of weights that are damaged, or made to do harm: refused by name, in little time and memory."""

from __future__ import annotations

import io
import json
import pickletools
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from models.checkpoints import CheckpointError, initialise, load_any, read_arguments, read_metadata, save_network
from models.layouts import HEADER, load_pickled, read_weights
from models.maest import MAEST
from models.maest.huggingface import write_huggingface
from models.onnx_sessions import open_onnx
from models.pickle_check import check_pickle
from models.programs import open_program

SMALL = {"n_classes": 2, "n_frames": 36, "dim": 4, "depth": 1, "heads": 1}
PLAIN = {
    "state_dict": {"net.a": torch.ones(2, 3), "net.b": torch.ones(4).half()[1:], "net.c": torch.tensor(1)},
    "hyper_parameters": {"network": SMALL, "labels": ["a", "b"], "normalisation": [2.0, 1.0]},
    "loops": {"state": (1, (2, 3), None), "done": {"x", 3}, "bytes": b"abc", "device": torch.device("cpu")},
    "parameter": torch.nn.Parameter(torch.ones(2)),
}
SLOW = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def whole(value: int) -> bytes:
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


def tensor(held: int, offset: int, size: int, stride: int) -> bytes:
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + whole(held) + b"tQ"
    shape = whole(offset) + whole(size) + b"\x85" + whole(stride) + b"\x85"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + shape + b"\x89ccollections\nOrderedDict\n)RtR"


def archive(pickle: bytes, compression: int = zipfile.ZIP_STORED, **more: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as file:
        file.writestr("archive/data.pkl", pickle)
        file.writestr("archive/version", "3\n")
        file.writestr("archive/data/0", b"\0" * 16)
        for name, data in more.items():
            file.writestr(name, data)
    return content.getvalue()


def value(pickled: bytes) -> bytes:
    return archive(b"\x80\x02}" + text("a") + pickled + b"s.")


ATTACKS = {
    "nested tuples as a key": archive(b"\x80\x02})" + b"\x85" * 200_000 + b"Ns."),
    "a key that doubles": archive(b"\x80\x02})" + b"q\x00h\x00h\x00\x86" * 60 + b"Ns."),
    "nested tuples in a call": archive(b"\x80\x02ccollections\nOrderedDict\n)" + b"\x85" * 200_000 + b"\x85R."),
    "an empty buffer of 5 GB": value(b"c__builtin__\nbytearray\n" + whole(5 * 10**9) + b"\x85R"),
    "a tensor by its size": value(b"ctorch\nFloatTensor\n" + whole(10**9) + b"\x85R"),
    "a tensor beyond its storage": value(tensor(4, 0, 10**10, 1)),
    "a tensor behind its storage": value(tensor(4, 4, 1, 1)),
    "a tensor repeated for ever": value(tensor(4, 0, 10**12, 0)),
    "a storage beyond the file": value(tensor(10**10, 0, 1, 1)),
    "a tensor before its storage": value(tensor(4, -1, 1, 1)),
    "a compressed archive": archive(b"\x80\x02}.", zipfile.ZIP_DEFLATED, **{"archive/data/1": b"\0" * 10**7}),
    "bytes copied over and over": value(
        b"(c_codecs\nencode\nq\x00" + text("a" * 10**6) + b"q\x01" + text("latin1") + b"q\x02"
        + b"h\x00h\x01h\x02\x86R" * 1000 + b"t"
    ),
    "an older file with a large storage": b"".join(
        [b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", b"\x80\x02M\xe9\x03.", b"\x80\x02}."]
    ) + b"\x80\x02}" + text("a") + tensor(10**10, 0, 1, 1) + b"s." + b"\x80\x02].",
    "a second pickle of nearly the same name": archive(b"\x80\x02}.", **{"archive/DATA.pkl": b"\x80\x02}."}),
    "a long text": b"\x80\x02X\xff\xff\xff\x7f",
    "a system command": value(b"cos\nsystem\n" + text("true") + b"\x85R"),
    "a state": value(tensor(4, 0, 4, 1) + b")b"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_a_small_file_does_no_harm(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.ckpt").write_bytes(ATTACKS[name])
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=r"x\.ckpt is not a (readable )?file of weights"):
            read_weights(tmp_path / "x.ckpt")
        assert tracemalloc.get_traced_memory()[1] < 40 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("archived", [True, False])
def test_what_checkpoints_hold_is_let_through(tmp_path: Path, archived: bool) -> None:
    torch.save(PLAIN, tmp_path / "x.ckpt", _use_new_zipfile_serialization=archived)
    loaded = load_pickled(tmp_path / "x.ckpt")
    assert loaded["loops"] == PLAIN["loops"]
    assert torch.equal(loaded["state_dict"]["net.b"], PLAIN["state_dict"]["net.b"])


def test_states_of_a_training_are_let_through(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 2)
    network(torch.ones(1, 2)).sum().backward()
    optimizer = torch.optim.AdamW(network.parameters())
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 3])
    optimizer.step()
    state = {"net": network.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
    torch.save(state, tmp_path / "x.ckpt")
    assert load_pickled(tmp_path / "x.ckpt")["schedule"] == schedule.state_dict()


def test_values_of_numpy_are_let_through_beside_weights_alone(tmp_path: Path) -> None:
    weights = {"dense.weight": torch.ones(2)}
    for content in (
        {"model": {**weights, "dense.bias": np.ones(2)}},
        {"state_dict": {"net.weight": torch.ones(2)}, "hyper_parameters": {"normalisation": [np.float64(1), 2.0]}},
        {**weights, "dense.bias": np.float32(1)},
    ):
        torch.save(content, tmp_path / "x.pth")
        with pytest.raises(CheckpointError, match=r"x\.pth"):
            read_weights(tmp_path / "x.pth")
    torch.save({"model": weights, "sampler": [np.ones(3), np.ones(0), np.int64(2)]}, tmp_path / "x.pth")
    assert list(read_weights(tmp_path / "x.pth").state) == ["dense.weight"]


@pytest.mark.parametrize(
    "harm", [b"cposix\nsystem\n" + text("true") + b"\x85R", b"cnumpy\nload\n" + text("x") + b"\x85R"]
)
def test_nothing_else_is_let_through_beside_values_of_numpy(tmp_path: Path, harm: bytes) -> None:
    array = b"cnumpy\nndarray\n" + whole(10**15) + b"\x85\x85R"
    for kept, fits in ((array, True), (array + b"s" + text("b") + harm, False)):
        pickle = b"\x80\x02}" + text("model") + b"}" + text("w") + tensor(4, 0, 4, 1) + b"ss" + text("a") + kept + b"s."
        (tmp_path / "x.pth").write_bytes(archive(pickle))
        if fits:
            assert list(read_weights(tmp_path / "x.pth").state) == ["w"]  # nothing of that size was made
            continue
        with pytest.raises(CheckpointError, match=r"x\.pth is not a file of weights"):
            read_weights(tmp_path / "x.pth")


@SLOW
@given(st.data(), st.booleans())
def test_any_damage_to_a_checkpoint_is_read_or_refused(tmp_path: Path, data: st.DataObject, archived: bool) -> None:
    buffer = io.BytesIO()
    torch.save(PLAIN, buffer, _use_new_zipfile_serialization=archived)
    check_damaged(tmp_path / "x.ckpt", buffer.getvalue(), data)


@SLOW
@given(st.data())
def test_any_damage_to_safetensors_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    header = {"version": 1, "class": "maest:MAEST", "network": SMALL, "metadata": {"labels": ["a", "b"]}}
    content = save(MAEST(**SMALL).state_dict(), {HEADER: json.dumps(header)})
    check_damaged(tmp_path / "x.safetensors", content[: 2000 + data.draw(st.sampled_from([0, len(content)]))], data)


def check_read_or_refused(read: Callable[[Path], object], path: Path) -> None:
    try:
        read(path)
        said = path.name
    except CheckpointError as error:
        said = str(error)
    assert path.name in said


def check_damaged(path: Path, content: bytes, data: st.DataObject) -> None:
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, min(len(damaged), 2500) - 1))
        damaged[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    path.write_bytes(damaged[: data.draw(st.sampled_from([None, None, len(damaged) // 2, 100]))])
    for read in (load_any, read_metadata, read_arguments):
        check_read_or_refused(read, path)


OPCODES = st.sampled_from([opcode.code.encode("latin1") for opcode in pickletools.opcodes])
PARTS = st.sampled_from(
    [b"ccollections\nOrderedDict\n)R", b"(", b"t", b"}", text("a"), tensor(4, 0, 4, 1), b"u", b"s", b"q\x00", b"h\x00"]
)


@SLOW
@given(st.lists(OPCODES | PARTS | st.binary(max_size=3), max_size=40))
def test_any_instructions_are_followed_or_refused(tmp_path: Path, parts: list[bytes]) -> None:
    (tmp_path / "x.pt").write_bytes(archive(b"\x80\x02" + b"".join(parts) + b"."))
    check_read_or_refused(check_pickle, tmp_path / "x.pt")
    check_read_or_refused(lambda path: check_pickle(path, numpy=True), tmp_path / "x.pt")
    check_read_or_refused(load_any, tmp_path / "x.pt")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**13), 10**13) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
OWN = {"version": 1, "class": "maest:MAEST", "network": SMALL, "metadata": {"labels": ["a", "b"]}}


@SLOW
@given(st.sampled_from(["version", "class", "network", "metadata", "all"]), st.sampled_from([*SMALL, "labels"]), JSON)
def test_any_header_is_followed_or_refused(tmp_path: Path, key: str, inner: str, odd: object) -> None:
    nested = {**OWN.get(key, {}), inner: odd} if key in ("network", "metadata") else odd
    for header in ({**OWN, key: odd}, {**OWN, key: nested}, odd):
        save_file(MAEST(**SMALL).state_dict(), tmp_path / "x.safetensors", {HEADER: json.dumps(header)})
        check_read_or_refused(load_any, tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class": 5}, "class of its network is 5"),
        ({"version": "1"}, "version is '1'"),
        ({"version": 10**400}, "has version|version is"),
        ({"network": {**SMALL, "depth": 10**12}}, "network.depth is 1000000000000, expected"),
        ({"network": {**SMALL, "depth": 10**6}}, "more than the 27 tensors"),
        ({"network": {**SMALL, "dim": 2**20, "heads": 1}}, "do not fit its own description of maest: "),
        ({"network": {**SMALL, "n_classes": float("inf")}}, "network.n_classes is inf"),
        ({"network": {**SMALL, "s_patchout_t_indices": [[[1]]]}}, "network.s_patchout_t_indices is"),
        ({"network": {**SMALL, "norm_eps": "x"}}, "network.norm_eps is 'x', expected something like 1e-06"),
        ({"network": [5]}, r"network is \[5\], expected arguments by name"),
        ({"metadata": 3}, "metadata is 3"),
        ({"metadata": {"labels": "ab"}}, "labels is 'ab', expected a list of names"),
        ({"metadata": {"labels": [1, 2]}}, r"labels is \[1, 2\]"),
        ({"metadata": {"labels": ["\ud800", "b"]}}, "surrogates not allowed"),
        ({"metadata": {"normalisation": [2, 0]}}, "normalisation is"),
        ({"metadata": {"normalisation": [float("nan"), 1]}}, "normalisation is"),
        ({"metadata": {"task": 5}}, "task is 5"),
        ({"metadata": {"training": 5}}, "training is 5"),
        ({"metadata": {"training": json.loads('{"a": ' * 40 + "1" + "}" * 40)}}, "training is nested deeper than 32"),
        ({"metadata": {"options": []}}, r"options is \[\]"),
    ],
)
def test_headers_name_their_entry(tmp_path: Path, changes: dict, message: str) -> None:
    content = {**OWN, **changes}
    save_file(MAEST(**SMALL).state_dict(), tmp_path / "x.safetensors", {HEADER: json.dumps(content)})
    with pytest.raises(CheckpointError, match=rf"x\.safetensors.*{message}"):
        load_any(tmp_path / "x.safetensors")
    state = {f"net.{key}": one for key, one in MAEST(**SMALL).state_dict().items()}
    if "network" in changes and isinstance(changes["network"], dict):
        torch.save({"state_dict": state, "hyper_parameters": {"network": changes["network"]}}, tmp_path / "x.ckpt")
        with pytest.raises(CheckpointError, match=rf"x\.ckpt.*{message}"):
            load_any(tmp_path / "x.ckpt")


@pytest.mark.parametrize("header", ["[]", "5", "[" * 100_000, "null", '"a"', "{"])
def test_headers_that_are_no_object(tmp_path: Path, header: str) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "x.safetensors", {HEADER: header})
    for read in (load_any, read_metadata, lambda path: initialise(MAEST(**SMALL), path)):
        with pytest.raises(CheckpointError, match=r"x\.safetensors: its header 'ostinato'"):
            read(tmp_path / "x.safetensors")


@SLOW
@given(st.sampled_from(["config.json", "preprocessor_config.json"]), st.data())
def test_any_configuration_is_followed_or_refused(tmp_path: Path, name: str, data: st.DataObject) -> None:
    write_huggingface(tmp_path, MAEST(**SMALL), ["a", "b"], {"task": "genre"})
    content = json.loads((tmp_path / name).read_text())
    key = data.draw(st.sampled_from(sorted(content)))
    content[key] = data.draw(JSON)
    (tmp_path / name).write_text(json.dumps(content))
    for read in (load_any, read_metadata):
        check_read_or_refused(read, tmp_path)


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "5", "", '{"num_mel_bins": 1' + "0" * 5000 + "}"])
def test_configurations_that_are_no_object(tmp_path: Path, content: str) -> None:
    write_huggingface(tmp_path, MAEST(**SMALL), ["a", "b"], {})
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_any(tmp_path)


def test_weights_of_other_shapes_than_described_are_named(tmp_path: Path) -> None:
    save_network(tmp_path / "x.safetensors", MAEST(**SMALL), {})
    weights = read_weights(tmp_path / "x.safetensors")
    state = {**weights.state, "norm.weight": torch.ones(5)}
    save_file(state, tmp_path / "x.safetensors", {HEADER: json.dumps(weights.header)})
    with pytest.raises(CheckpointError, match=r"norm\.weight \[5\] in the file, norm\.weight \[4\] described"):
        load_any(tmp_path / "x.safetensors")


@pytest.mark.parametrize(("open_file", "suffix"), [(open_onnx, ".onnx"), (open_program, ".pt2")])
@pytest.mark.parametrize("content", [None, b"", b"program", b"PK\x03\x04" + bytes(100)])
def test_exports_that_cannot_be_opened(tmp_path: Path, open_file: Callable, suffix: str, content: bytes | None) -> None:
    file = tmp_path / f"net{suffix}"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"net\{suffix} is not a readable"):
        open_file(file)


def test_what_checkpoints_of_others_say_is_taken_where_it_can_be_understood(tmp_path: Path) -> None:
    said = {"labels": 5, "task": "genre", "lr": 0.1, "network": "resnet"}
    torch.save({"state_dict": {"net.a": torch.ones(1)}, "hyper_parameters": said}, tmp_path / "x.ckpt")
    assert read_metadata(tmp_path / "x.ckpt") == {"task": "genre", "lr": 0.1}
    assert read_arguments(tmp_path / "x.ckpt") == {}
    with pytest.raises(CheckpointError, match="does not tell what network it is of"):
        load_any(tmp_path / "x.ckpt")
