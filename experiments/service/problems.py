"""Errors as problem documents (RFC 9457): what is wrong, in the words of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"


class ProblemDocument(BaseModel):
    """A problem document, RFC 9457."""

    type: str = Field("about:blank", description="Always about:blank: the status says what kind of problem it is")
    title: str = Field(description="What the status is called", examples=["Unprocessable Content"])
    status: int = Field(description="The status code of HTTP", examples=[422])
    detail: str = Field(
        description="What is wrong, what was expected, and what to do", examples=["empty file: 0 bytes"]
    )


class ServiceError(Exception):
    """A request that is not answered.

    Attributes:
        status: Of HTTP.
        detail: What is wrong, what was expected, and what to do.
        headers: Of the response besides.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def response(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A problem document as a response."""
    problem = ProblemDocument(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return JSONResponse(problem.model_dump(), status, dict(headers or {}), MEDIA_TYPE)


def described(*statuses: int) -> dict[int, dict[str, Any]]:
    """What the schema says of the problems that a path may answer with."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    return {
        status: {"description": HTTPStatus(status).phrase, **_headers(status), "content": content}
        for status in statuses
    }


def _headers(status: int) -> dict[str, Any]:
    about = {"description": "Seconds after which to try again", "schema": {"type": "integer", "minimum": 1}}
    return {
        401: {"headers": {"WWW-Authenticate": {"required": True, "schema": {"type": "string", "const": "Bearer"}}}},
        429: {"headers": {"Retry-After": {"required": True, **about}}},
        503: {"headers": {"Retry-After": about}},
    }.get(status, {})


def install(app: FastAPI) -> None:
    """Have every error of an application answered by a problem document."""

    @app.exception_handler(ServiceError)
    async def of_service(_: Request, error: ServiceError) -> JSONResponse:
        return response(error.status, error.detail, error.headers)

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> JSONResponse:
        detail = str(error.detail)
        if error.status_code == HTTPStatus.NOT_FOUND:
            detail = f"{request.url.path}: there is nothing here; /docs lists all there is"
        elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            detail = f"{request.method} {request.url.path}: another method is expected; /docs says which"
        return response(error.status_code, detail, error.headers)

    @app.exception_handler(RequestValidationError)
    async def of_parameters(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in ("query", "body", "path"))
        return response(422, f"{where}: {first['msg']}; given was {first.get('input')!r:.100}")

    @app.exception_handler(Exception)
    async def of_ours(_: Request, error: Exception) -> JSONResponse:
        return response(500, f"the service failed with {type(error).__name__}: this is a fault of it, see its log")
