"""A client that was generated from the schema gets what the command `predict` writes of the same file."""

from __future__ import annotations

import importlib
import io
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from experiments.encoder import Encoder
from experiments.inference.prediction import predict
from experiments.service.app import build_app
from experiments.settings import PretrainSettings
from experiments.tracking import RunHandle
from preprocess.decode import load
from tests.experiments.service.checkpoints import checkpoint
from tests.experiments.service.conftest import Served

KINDS = ("tags", "genre", "values", "tempo", "beats")
SONG = Path(__file__).parents[2] / "data" / "super_polka.ogg"
COMMAND = "from openapi_python_client.cli import app; app()"
OPTIONS = "post_hooks: []\ncontent_type_overrides: {'audio/*': application/octet-stream}\n"
PACKAGE = "generated_client"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {kind: checkpoint(kind, folder) for kind in (*KINDS, "embeddings")}


@pytest.fixture(scope="module")
def service(served, checkpoints) -> Iterator[Served]:
    with served(checkpoints) as service:
        yield service


@pytest.fixture(scope="module")
def package(service, tmp_path_factory) -> Iterator[ModuleType]:
    """The generated package."""
    folder = tmp_path_factory.mktemp("client")
    document, options = folder / "openapi.json", folder / "options.yaml"
    document.write_text(json.dumps(build_app(service.service).openapi()))
    options.write_text(OPTIONS)
    words = ["generate", "--path", str(document), "--config", str(options), "--meta", "none", "--fail-on-warning"]
    words += ["--output-path", str(folder / PACKAGE)]
    made = subprocess.run([sys.executable, "-c", COMMAND, *words], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    sys.path.insert(0, str(folder))
    yield importlib.import_module(PACKAGE)
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def ask(package, service):
    """Calls an operation of the client, with the song where it takes a file; what comes back, as JSON has it."""
    client = package.Client(base_url=service.address, timeout=120)

    def call(tag: str, operation: str, body: str | None = None, **options: Any) -> Any:
        function = importlib.import_module(f"{PACKAGE}.api.{tag}.{operation}")
        if body is not None:
            types, models = importlib.import_module(f"{PACKAGE}.types"), importlib.import_module(f"{PACKAGE}.models")
            with SONG.open("rb") as file:
                upload = types.File(payload=file, file_name=SONG.name, mime_type="audio/ogg")
                if body == "multipart":
                    upload = getattr(models, f"{''.join(part.title() for part in operation.split('_'))}FilesBody")(
                        upload
                    )
                found = function.sync_detailed(client=client, body=upload, **options)
        else:
            found = function.sync_detailed(client=client, **options)
        assert found.status_code == 200, found.content
        return [one.to_dict() for one in found.parsed] if isinstance(found.parsed, list) else found.parsed.to_dict()

    return call


def written(kind: str, checkpoints: dict[str, Path], folder: Path) -> dict[str, Any]:
    """What the command `predict` writes of the song."""
    inference = {"checkpoint": str(checkpoints[kind]), "audio": str(SONG), "out_dir": str(folder / "out")}
    (folder / "run").mkdir()
    run = RunHandle(folder / "run", 0)
    predict(PretrainSettings(inference=inference, trainer={"accelerator": "cpu"}), run)
    if kind == "beats":
        return json.loads((folder / "out" / "super_polka.json").read_text(encoding="utf-8"))
    (entry,) = json.loads((folder / "out" / "predictions.json").read_text(encoding="utf-8"))
    return entry


def known(value: Any) -> Any:
    """A value without what is null in it, which files leave out."""
    return {key: one for key, one in value.items() if one is not None} if isinstance(value, dict) else value


@pytest.mark.parametrize("body", ["multipart", "raw"])
@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_those_of_the_command_to_the_last_digit(ask, checkpoints, tmp_path, kind, body):
    answer = ask(kind, f"predict_{kind}", body, over_time=True)
    entry = written(kind, checkpoints, tmp_path)
    assert (answer["model"], answer["notes"]) == (kind, entry.get("notes", []))
    compared = entry.keys() - {"audio", "seconds", "notes"}
    if kind == "tempo":  # said as a tempo, of windows too, and the classes of the whole
        compared -= {"selected", "selection", "over_time"}
    assert len(compared) >= 3
    if "over_time" in compared:  # whose rows hold the start of a window among its values in files
        answer["over_time"] = [{"seconds": row["seconds"], **row["values"]} for row in answer["over_time"]]
    assert {key: known(answer[key]) for key in compared} == {key: known(entry[key]) for key in compared}


def test_one_upload_for_all_models_gives_the_same_answers(ask):
    everything = ask("models", "predict", "multipart")
    assert everything["problems"] == {}
    assert everything["answers"] == {kind: ask(kind, f"predict_{kind}", "raw") for kind in KINDS}


def test_options_are_passed_on(ask):
    assert len(ask("tags", "predict_tags", "raw", top=2)["selected"]) == 2
    assert ask("tags", "predict_tags", "raw", threshold=1.0)["selection"]["below_thresholds"]
    assert len(ask("genre", "predict_genre", "multipart", top=1)["ranked"]) == 1


def test_models_are_described(ask, checkpoints):
    models = {model["name"]: model for model in ask("models", "models")}
    assert models.keys() == checkpoints.keys()
    assert models["tags"]["thresholds"]["values"] == {"polka": 0.2, "waltz": 0.5, "march": 0.9}
    assert models["embeddings"]["kind"] is None
    assert ask("service", "health")["models"] == list(checkpoints)


@pytest.mark.parametrize("kind", ["embeddings", "tags"])
def test_embeddings_are_those_of_the_encoder_to_the_last_digit(ask, checkpoints, service, kind):
    encoder = Encoder.load(str(checkpoints[kind]), device="cpu")
    rate = encoder.frontend.sample_rate
    expected = encoder.embed(load(SONG, rate), rate)
    answer = ask(kind, f"embed_{kind}", "multipart")
    ((layer, tokens),) = answer["layers"].items()
    assert layer == encoder.network.default_layer
    assert np.array_equal(np.array(tokens, np.float32), expected[layer])
    request = urllib.request.Request(f"{service.address}/v1/{kind}/embed?form=npy", SONG.read_bytes())
    request.add_header("Content-Type", "audio/ogg")
    with urllib.request.urlopen(request) as found:
        assert found.headers["content-type"] == "application/x-npy"
        assert np.array_equal(np.load(io.BytesIO(found.read()), allow_pickle=False), expected[layer])
