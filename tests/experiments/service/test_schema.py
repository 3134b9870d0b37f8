"""The schema tells the truth: Schemathesis asks all that it allows, and much that it does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from tests.experiments.service.checkpoints import checkpoint
from tests.experiments.service.conftest import Served

HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
COMMAND = "from schemathesis.cli import schemathesis; schemathesis()"
# What the schema cannot say is whether bytes are audio, so a file that it allows may be refused.
CHECKS = ["--checks", "all", "--exclude-checks", "positive_data_acceptance"]
TOKEN = "0123456789abcdef-secret"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {kind: checkpoint(kind, folder) for kind in ("tags", "values", "beats")}


@pytest.fixture(scope="module")
def service(served, checkpoints) -> Iterator[Served]:
    with served(checkpoints, decoders=2) as service:
        yield service


@pytest.fixture(scope="module")
def schema(service) -> dict[str, Any]:
    return schema_of(service)


def schema_of(service: Served, token: str | None = None) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{service.address}/openapi.json", headers=headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def ask(service: Served, folder: Path, *words: str) -> dict[str, Any]:
    """What Schemathesis found."""
    report = folder / "report.json"
    more = ["--report", "json", "--report-json-path", str(report), "--no-shrink", "--request-timeout", "120"]
    found = subprocess.run(
        [sys.executable, "-c", COMMAND, "run", f"{service.address}/openapi.json", *CHECKS, *more, *words],
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]
    return json.loads(report.read_text())


def answered(service: Served, path: str) -> int:
    """How often a path was answered with 200."""
    counts = service.service.counts.text().decode().splitlines()
    label = f'ostinato_requests_total{{path="{path}",status="200"}} '
    return sum(int(float(line.removeprefix(label))) for line in counts if line.startswith(label))


def check(service: Served, schema: dict[str, Any], folder: Path, *words: str) -> None:
    before = {path: answered(service, path) for path in schema["paths"]}
    found = ask(service, folder, *words)
    print(found["test_cases"], f"{found['running_time']:.0f} s")
    assert found["operations"]["tested"] == len(schema["paths"])
    assert (found["test_cases"]["with_failures"], found["errors"]) == (0, [])
    for path in schema["paths"]:  # else only refusals were compared with the schema
        assert answered(service, path) > before[path], path
    assert list(service.service.folder.iterdir()) == []


def test_no_request_breaks_the_schema(service, schema, tmp_path):
    check(service, schema, tmp_path, "--max-examples", "12", "--phases", "coverage,fuzzing", "--seed", "1")


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_none_of_500_requests_of_each_kind_breaks_the_schema(service, schema, tmp_path):
    check(service, schema, tmp_path, "--max-examples", "500")


def test_every_operation_has_a_name_and_says_how_it_may_fail(schema):
    operations = [(path, *one) for path, methods in schema["paths"].items() for one in methods.items()]
    names = [operation["operationId"] for _, _, operation in operations]
    assert len(set(names)) == len(names)
    assert {"predict", "predict_tags", "embed_beats", "models", "health", "metrics"} <= set(names)
    for _, method, operation in operations:
        expected = {"400", "403", "421", "429", "500"} | (
            {"408", "413", "415", "422", "503"} if method == "post" else set()
        )
        assert expected <= operation["responses"].keys()
        assert "401" not in operation["responses"]
        for status, response in operation["responses"].items():
            assert response["description"]
            if status != "200":
                (content,) = response["content"].items()
                assert content == (
                    "application/problem+json",
                    {"schema": {"$ref": "#/components/schemas/ProblemDocument"}},
                )
        assert operation["responses"]["429"]["headers"]["Retry-After"]["required"]
    assert "HTTPValidationError" not in schema["components"]["schemas"]


def test_options_can_be_left_out_but_are_never_null(schema):
    options = {one["name"]: one for one in schema["paths"]["/v1/tags/predict"]["post"]["parameters"]}
    assert options.keys() == {"top", "threshold", "over_time"}
    assert options["top"]["schema"].items() >= {"type": "integer", "minimum": 1}.items()
    embed = {one["name"]: one["schema"] for one in schema["paths"]["/v1/tags/embed"]["post"]["parameters"]}
    assert embed["layers"]["items"]["enum"]
    assert '"null"' not in json.dumps(embed)


def test_with_a_token_it_says_where_one_is_needed(served, checkpoints):
    with served({"tags": checkpoints["tags"]}, token=TOKEN) as service:
        schema = schema_of(service, TOKEN)
    assert schema["security"] == [{"token": []}]
    assert "401" not in schema["paths"]["/health"]["get"]["responses"]
    for path in ("/v1/models", "/v1/predict", "/v1/tags/embed", "/metrics"):
        (operation,) = schema["paths"][path].values()
        assert "WWW-Authenticate" in operation["responses"]["401"]["headers"]


def test_examples_are_valid(schema):
    count = 0
    for name, kind in schema["components"]["schemas"].items():
        for field, about in kind["properties"].items():
            validator = jsonschema_rs.validator_for({**about, "components": schema["components"]})
            for example in about.get("examples", []):
                count += 1
                assert validator.is_valid(example), (name, field, example)
    assert count > 40


def test_answers_leave_nothing_out(schema):
    """A client need not ask whether a field is there."""
    kinds = schema["components"]["schemas"]
    for name in ("ClassesAnswer", "ValuesAnswer", "BeatsAnswer", "Beat", "Embeddings", "SelectionRule"):
        assert set(kinds[name]["required"]) == kinds[name]["properties"].keys(), name
