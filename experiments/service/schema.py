"""The OpenAPI document: what FastAPI derives from the types, and what only this service knows of its answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastapi import FastAPI

from experiments.service.guards import PUBLIC
from experiments.service.models import ServedModel
from experiments.service.problems import ProblemDocument, described
from experiments.service.tokens import with_token
from experiments.settings import ServiceSettings

EVERYWHERE = (400, 403, 414, 421, 429, 431, 500, 503)  # of the head of a request, faults, and the end of the service
WITH_TOKEN = (401,)
OF_UPLOADS = (408, 413, 415, 422)


def schema_of(app: FastAPI, models: Iterable[ServedModel], service: ServiceSettings) -> dict[str, Any]:
    """The document of an application.

    Args:
        app: With all its paths.
        models: That it serves.
        service: Settings.
    """
    schema = app.openapi()
    known = schema["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's, in whose place problem documents are
        known.pop(unused, None)
    known["ProblemDocument"] = ProblemDocument.model_json_schema()
    for path, method, operation in _operations(schema):
        statuses = EVERYWHERE + (OF_UPLOADS if method == "post" else ())
        statuses += WITH_TOKEN if service.token is not None and path not in PUBLIC else ()
        problems = {str(status): problem for status, problem in described(*sorted(statuses)).items()}
        operation["responses"] = {"200": operation["responses"]["200"], **problems}
        for parameter in operation.get("parameters", []):
            parameter["schema"] = _not_null(parameter["schema"])
    for model in models:
        names = {"layers": model.encoder.network.layer_names, "tokens": model.encoder.network.token_names}
        for parameter in schema["paths"][f"/v1/{model.name}/embed"]["post"]["parameters"]:
            if parameter["name"] in names:
                parameter["schema"]["items"]["enum"] = list(names[parameter["name"]])
    return with_token(schema, service, PUBLIC)


def _operations(schema: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """What may be left out, where FastAPI says that it may be null: an address cannot say that."""
    chosen = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    if len(chosen) != 1:
        return schema
    return {**{key: value for key, value in schema.items() if key != "anyOf"}, **chosen[0]}
