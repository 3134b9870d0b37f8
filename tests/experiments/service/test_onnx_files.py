"""Which files `service.engine=onnx` serves, and what it says of others."""

from __future__ import annotations

import gc
import json
import tempfile
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from datasets.file_locks import is_held
from experiments.errors import UserError
from experiments.export.facts import KEY, VERSION
from experiments.service import onnx_encoder
from experiments.service.models import open_models
from experiments.transfer.settings import TransferSettings
from tests.experiments.service.exported import opened, written

pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    return written("values", tmp_path_factory.mktemp("exported"))


@pytest.fixture
def changed(exported, tmp_path):
    """The file with other properties, None for one that is left out."""

    def how(**properties: str | None) -> Path:
        model = onnx.load(exported)
        kept = {one.key: one.value for one in model.metadata_props} | properties
        del model.metadata_props[:]
        helper.set_model_props(model, {key: value for key, value in kept.items() if value is not None})
        onnx.save(model, tmp_path / "changed.onnx")
        return tmp_path / "changed.onnx"

    return how


def facts(path: Path) -> dict:
    (text,) = (one.value for one in onnx.load(path).metadata_props if one.key == KEY)
    return json.loads(text)


def refusal(path: Path, **service: object) -> str:
    given = {"engine": "onnx", "models": {"it": str(path)}}
    with pytest.raises(UserError) as error:
        open_models(TransferSettings(service=given | service))
    return str(error.value)


def test_what_is_no_onnx_file(tmp_path):
    path = tmp_path / "notes.onnx"
    path.write_text("not a network")
    said = refusal(path)
    assert said.startswith(f"service.models.it={path}: {path} is not a readable ONNX file")
    path.unlink()
    assert refusal(path).endswith("no such file")


def test_an_onnx_file_of_another_program(tmp_path):
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "other", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "other.onnx")
    assert "is an ONNX file of another program" in refusal(tmp_path / "other.onnx")


def test_a_file_of_an_older_version_is_to_be_exported_again(changed):
    assert "export it again: python ex_transfer.py export" in refusal(changed(**{KEY: None}))


def test_a_file_of_another_version_is_to_be_exported_again(changed, exported):
    newer = json.dumps(facts(exported) | {"version": VERSION + 1})
    assert f"has the version {VERSION + 1} of {KEY}, expected {VERSION}: export it again" in refusal(
        changed(**{KEY: newer})
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "not readable JSON"),
        ("[]", "holds a list"),
        (json.dumps({"version": VERSION}), "description: Field required; was the file changed?"),
    ],
)
def test_a_file_that_was_changed(changed, content, expected):
    assert expected in refusal(changed(**{KEY: content}))


def test_facts_are_checked(changed, exported):
    known = facts(exported)
    known["network"]["frames"] = "many"
    assert "network.frames: Input should be a valid integer" in refusal(changed(**{KEY: json.dumps(known)}))


def test_a_description_without_a_task_is_refused(changed, exported):
    known = facts(exported)
    del known["description"]["task"]
    assert "the description lacks task" in refusal(changed(**{KEY: json.dumps(known)}))


def test_a_damaged_front_end_is_refused(changed):
    assert "the property front_end_onnx is damaged" in refusal(changed(front_end_onnx="no base64"))


def test_a_file_without_its_front_end_cannot_be_divided(changed):
    assert "cannot be divided into front end and network" in refusal(changed(front_end_onnx=None))


def test_checkpoints_and_folders_are_for_pytorch(exported, tmp_path):
    for path in (exported.with_suffix(".safetensors"), tmp_path):
        assert f"{path} is no ONNX file, and service.engine=onnx serves no others: export it" in refusal(path)


def test_published_networks_are_to_be_exported():
    said = refusal(Path("discogs-maest-10s-pw-129e"))
    assert (
        "export it (python ex_transfer.py export with model.pretrained=discogs-maest-10s-pw-129e export.format=onnx)"
        in said
    )


def test_an_onnx_file_is_not_for_pytorch(exported):
    assert "is an ONNX file, which service.engine=onnx serves" in refusal(exported, engine="torch")


def test_settings_that_a_file_answers_itself(exported):
    assert "service.engine=onnx" in refusal(exported, heads={"it": "head.safetensors"})


def test_nothing_is_named():
    with pytest.raises(UserError, match="nothing to serve is named"):
        open_models(TransferSettings(service={"engine": "onnx"}))


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_packages_that_are_missing_are_named(exported, monkeypatch, package):
    find = onnx_encoder.importlib.util.find_spec
    monkeypatch.setattr(onnx_encoder.importlib.util, "find_spec", lambda name: None if name == package else find(name))
    assert refusal(exported).endswith(f"service.engine=onnx needs {package} for this file: pip install {package}")


def test_files_of_several_window_lengths_are_served_together(exported, tmp_path):
    other = written("embeddings", tmp_path)
    given = {"engine": "onnx", "models": {"values": str(exported), "vectors": str(other)}}
    models = {model.name: model for model in open_models(TransferSettings(service=given))}
    assert models["values"].predictor is not None
    assert models["vectors"].predictor is None
    assert models["values"].about["licence"] == "the weights are their owner's"


def test_the_front_end_is_not_kept_twice(exported):
    model = onnx.load(exported)
    size = sum(len(one.raw_data) for one in model.graph.initializer)
    assert exported.stat().st_size < 1.3 * size
    assert opened(exported).encoder.network.frames == 100


def test_the_front_end_lies_in_a_private_folder_as_long_as_its_encoder_lives(tmp_path, monkeypatch):
    file, temporary = written("genre", tmp_path), tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    encoder = onnx_encoder.open_encoder(file)
    (folder,) = temporary.iterdir()
    assert is_held(folder)
    assert list(folder.iterdir())
    del encoder
    gc.collect()
    assert list(temporary.iterdir()) == []
