"""The addresses of the service, with their schema."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

import numpy as np
from fastapi import Depends, FastAPI, Query, Request, Response
from pydantic import BaseModel, Field

from experiments.service import problems
from experiments.service.admission import Admission, Places
from experiments.service.answers import Answer, AnyAnswer, answer_type
from experiments.service.descriptions import ModelDescription, description_of
from experiments.service.embeddings import NPY, Embeddings, as_json, as_npy, checked
from experiments.service.forms import FIELD
from experiments.service.metrics import MEDIA_TYPE
from experiments.service.models import ServedModel
from experiments.service.page import add_page
from experiments.service.problems import ServiceError
from experiments.service.requests import Options, Service, together
from experiments.service.schema import schema_of

BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {FIELD: {"type": "string", "format": "binary", "description": "An audio file"}},
                    "additionalProperties": False,
                },
                "encoding": {FIELD: {"contentType": "audio/*, application/octet-stream"}},
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "audio/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
Top = Annotated[int | None, Query(ge=1, le=10_000, description="Classes in the ranking; of tags, these are selected")]
Threshold = Annotated[float | None, Query(ge=0, le=1, description="Probability from which on a tag is selected")]
OverTime = Annotated[bool, Query(description="Answer for every window, too; of beats, with the activations")]
Layers = Annotated[list[str] | None, Query(description="Names, as in /v1/models; left out: its default_layer")]
Tokens = Annotated[list[str] | None, Query(description="Names, as in /v1/models; left out: all")]
Form = Annotated[
    Literal["json", "npy"], Query(description="npy: a NumPy file of one layer, [windows, tokens, dimensions]")
]


class Health(BaseModel):
    """Whether the service works."""

    status: Literal["ok"] = "ok"
    models: list[str] | None = Field(
        None, description="Names; left out where a token is needed", examples=[["tags", "beats"]]
    )


class Everything(BaseModel):
    """The answers of all models to a file; a model that has none is in `problems`."""

    answers: dict[str, AnyAnswer] = Field(description="By the names of models; `kind` tells the types apart")
    problems: dict[str, str] = Field(
        description="Why a model has no answer, by its name",
        examples=[{"beats": "no onsets found: there is nothing in this audio that a tempo could be told from"}],
    )


def build_app(service: Service) -> FastAPI:
    """The application.

    Args:
        service: What answers.
    """
    app = FastAPI(
        title="Ostinato",
        description="Trained networks and probes for music audio: tags, classes, values, tempo, beats, embeddings.",
        version="1",
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(_check_options)],
    )
    problems.install(app)
    app.add_middleware(Admission, places=Places(service.settings.queue), seconds=service.settings.timeout)

    @app.get("/health", tags=["service"], operation_id="health", response_model_exclude_none=True)
    async def health() -> Health:
        """Whether the service works, and what it serves."""
        return Health(models=None if service.settings.token else list(service.models))

    @app.get(
        "/metrics",
        tags=["service"],
        operation_id="metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """Counts of requests, of seconds of audio and of this process, as Prometheus reads them."""
        return Response(service.counts.text(), media_type=MEDIA_TYPE)

    @app.get("/v1/models", tags=["models"], operation_id="models")
    async def models() -> list[ModelDescription]:
        """What is served: tasks, labels, weights, licences, windows, thresholds."""
        return [description_of(model) for model in service.models.values()]

    predicting = [model for model in service.models.values() if model.predictor]
    if predicting:

        @app.post("/v1/predict", tags=["models"], operation_id="predict", response_model=Everything, openapi_extra=BODY)
        async def predict_all(
            request: Request, top: Top = None, threshold: Threshold = None, over_time: OverTime = False
        ) -> Response:
            """Predictions of all models for a file, which is sent once."""
            options = Options(top, threshold, over_time)
            options.check()
            async with service.file(request) as path:
                decoded = await service.decoded(path, predicting)
                calls = (service.predict(model, decoded[model.decoding], options) for model in predicting)
                outcomes = await together(map(_caught, calls))
            if all(isinstance(one, ServiceError) for one in outcomes):
                raise outcomes[0]
            named = dict(zip((model.name for model in predicting), outcomes, strict=True))
            failed = {name: one.detail for name, one in named.items() if isinstance(one, ServiceError)}
            return await _json(Everything(answers={n: named[n] for n in named if n not in failed}, problems=failed))

    for model in service.models.values():
        if model.predictor:
            _add_predict(app, service, model)
        _add_embed(app, service, model)
    add_page(app)
    app.openapi_schema = schema_of(app, service.models.values(), service.settings)
    return app


async def _json(answer: BaseModel) -> Response:
    """An answer whose JSON is made in a thread: of a long file it takes a while, in which others are answered."""
    return Response(await asyncio.to_thread(answer.model_dump_json), media_type="application/json")


async def _check_options(request: Request) -> None:
    """Refuse options that an upload does not have: what is misspelled would be passed over.

    Raises:
        ServiceError: There is one.
    """
    known = [option.alias for option in request.scope["route"].dependant.query_params]
    if request.method == "POST" and (unknown := [name for name in request.query_params if name not in known]):
        raise ServiceError(422, f"{unknown[0][:80]!r} is no option of {request.url.path}, which has {', '.join(known)}")


async def _caught(call: Awaitable[Answer]) -> Answer | ServiceError:
    try:
        return await call
    except ServiceError as error:
        return error


def _add_predict(app: FastAPI, service: Service, model: ServedModel) -> None:
    """The address at which a model predicts, with the options that its task has."""
    kind = answer_type(model)

    async def run(request: Request, options: Options) -> Response:
        async with service.file(request) as path:
            outcome = (await service.decoded(path, [model]))[model.decoding]
            return await _json(await service.predict(model, outcome, options))

    async def of_tags(
        request: Request, top: Top = None, threshold: Threshold = None, over_time: OverTime = False
    ) -> Response:
        options = Options(top, threshold, over_time)
        options.check()
        return await run(request, options)

    async def of_classes(request: Request, top: Top = None, over_time: OverTime = False) -> Response:
        return await run(request, Options(top, None, over_time))

    async def of_others(request: Request, over_time: OverTime = False) -> Response:
        return await run(request, Options(None, None, over_time))

    endpoint: Callable = {"tags": of_tags, "class": of_classes}.get(model.predictor.task.kind, of_others)
    app.post(
        f"/v1/{model.name}/predict",
        tags=[model.name],
        summary=f"Predictions of {model.name} for a file",
        operation_id=f"predict_{model.name}",
        response_model=kind,
        openapi_extra=BODY,
    )(endpoint)


def _add_embed(app: FastAPI, service: Service, model: ServedModel) -> None:
    """The address at which the network of a model gives embeddings."""

    @app.post(
        f"/v1/{model.name}/embed",
        tags=[model.name],
        summary="Embed a file",
        operation_id=f"embed_{model.name}",
        response_model=Embeddings,
        responses={200: {"content": {NPY: {"schema": {"type": "string", "format": "binary"}}}}},
        openapi_extra=BODY,
    )
    async def embed(
        request: Request,
        layers: Layers = None,
        tokens: Tokens = None,
        form: Form = "json",
    ) -> Response:
        """Embeddings of a file by layer: tokens of its windows, which are cut as for a store of embeddings."""
        chosen, kept = checked(model, layers, tokens, form)
        async with service.file(request) as path:
            outcome = (await service.decoded(path, [model]))[model.decoding]
            starts, arrays = await service.embed(model, outcome, chosen)
            arrays = {name: array[:, kept] for name, array in arrays.items()}
            if form == "npy":
                return Response(await asyncio.to_thread(as_npy, arrays[chosen[0]]), media_type=NPY)
            about = Embeddings(
                model=model.name,
                seconds=round(outcome.seconds, 3),
                window_starts=np.round(starts, 3).tolist(),
                tokens=[model.encoder.network.token_names[place] for place in kept],
                layers={},
            )
            return Response(await asyncio.to_thread(as_json, about, arrays), media_type="application/json")
