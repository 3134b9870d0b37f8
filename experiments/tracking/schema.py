"""The keys of settings: what there is at a dotted key, what it means, and why a value is refused.

Settings whose keys follow the value of one of them say which networks have a key that they lack, by a classmethod
`elsewhere(key)`.
"""

from __future__ import annotations

import ast
import difflib
import functools
import inspect
import io
import re
import textwrap
import tokenize
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from experiments.errors import UserError

NOTHING = object()


def locate(model: type[BaseModel], key: str) -> Any:
    """Annotation (with its constraints) of a dotted key.

    Raises:
        UserError: The key does not exist; the nearest one at the depth of the fault is suggested.
    """
    here: Any = model
    parts = key.split(".")
    for depth, part in enumerate(parts):
        walked = ".".join(parts[:depth])
        fields = section_fields(here)
        if fields:
            if part not in fields:
                raise UserError(_unknown(model, key, walked, part, fields))
            here = annotation_of(fields[part])
        elif (inner := mapping_value(here)) is not NOTHING:
            here = inner
        else:
            raise UserError(f"{key}: {walked} is a value, not a section: write {walked}=VALUE")
    return here


def descriptions(model: type[BaseModel], prefix: str = "") -> dict[str, str]:
    """What every key means, by dotted key: its description, or else the comment behind it in the source."""
    found: dict[str, str] = {}
    comments = comments_of(model)
    for name, field in model.model_fields.items():
        if text := field.description or comments.get(name):
            found[prefix + name] = text
        for section in models_in(field.annotation):
            found |= descriptions(section, f"{prefix}{name}.")
    return found


@functools.cache
def comments_of(model: type[BaseModel]) -> dict[str, str]:
    """The comment behind every key in the source of a model and of those it extends; none without source."""
    found: dict[str, str] = {}
    for part in reversed(model.__mro__):
        if not issubclass(part, BaseModel) or part is BaseModel:
            continue
        try:
            source = textwrap.dedent(inspect.getsource(part))
        except (OSError, TypeError):
            continue
        comments = {
            token.start[0]: token.string.lstrip("# ")
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT
        }
        for line in ast.parse(source).body[0].body:
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                texts = [comments[at] for at in range(line.lineno, line.end_lineno + 1) if at in comments]
                found |= {line.target.id: " ".join(texts)} if texts else {}
    return found


def section_fields(annotation: Any) -> dict[str, FieldInfo]:
    """Keys below an annotation; empty for a value."""
    return {name: field for section in models_in(annotation) for name, field in section.model_fields.items()}


def annotation_of(field: FieldInfo) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """Members of a union, through Annotated; the annotation itself where it is none."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _alternatives(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return tuple(inner for member in typing.get_args(annotation) for inner in _alternatives(member))
    return (annotation,)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    return [a for a in _alternatives(annotation) if isinstance(a, type) and issubclass(a, BaseModel)]


def optional(annotation: Any) -> bool:
    return types.NoneType in _alternatives(annotation)


def mapping_value(annotation: Any) -> Any:
    for member in _alternatives(annotation):
        if member in (Any, object):
            return Any
        if member is dict or typing.get_origin(member) in (dict, Mapping):
            return (typing.get_args(member) or (Any, Any))[1]
    return NOTHING


def listed(prefix: str, fields: Mapping[str, FieldInfo]) -> str:
    return ", ".join(f"{prefix}.{name}" if prefix else name for name in fields)


def _unknown(model: type[BaseModel], key: str, walked: str, part: str, fields: Mapping[str, FieldInfo]) -> str:
    """A key that looks alike at this depth, else the same key elsewhere, else one that looks a little alike."""
    if where := getattr(model, "elsewhere", lambda _: "")(key):
        return f"no setting {key!r}: {where}"
    before, after = walked + "." if walked else "", key[len(walked) + len(part) + (1 if walked else 0) :]
    last = key.rpartition(".")[2]
    options = (
        [f"{before}{near}{after}" for near in difflib.get_close_matches(part, list(fields), n=1, cutoff=0.6)]
        or [path for path in _paths(model) if path.rpartition(".")[2] == last][:3]
        or [f"{before}{near}{after}" for near in difflib.get_close_matches(part, list(fields), n=1, cutoff=0.45)]
    )
    if options:
        return f"no setting {key!r}: did you mean {' or '.join(options)}?"
    return f"no setting {key!r}; there are: {listed(walked, fields)}"


def _paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        for section in models_in(field.annotation):
            yield from _paths(section, f"{prefix}{name}.")


def expectations(error: ValidationError) -> str:
    return _joined([(detail["type"], _phrase(detail)) for detail in error.errors(include_url=False)])


def _joined(phrases: Sequence[tuple[str, str]]) -> str:
    """What the branches of a union expect; a check of ours says all, the literal beside it included."""
    checked = any(kind == "value_error" for kind, _ in phrases)
    return " or ".join(dict.fromkeys(text for kind, text in phrases if not (checked and kind == "literal_error")))


def _phrase(detail: Mapping[str, Any]) -> str:
    if detail["type"] in ("missing", "extra_forbidden"):
        return f"{detail['loc'][-1]!r} is {'needed' if detail['type'] == 'missing' else 'no key here'}"
    text = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if detail["type"] == "literal_error":
        valid = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected", "")))
        near = difflib.get_close_matches(str(detail["input"]), valid, n=1)
        text += f" (did you mean {near[0]!r}?)" if near else ""
    if detail["type"] in ("dict_type", "model_type", "model_attributes_type"):
        return "should be {key: value, ...}"
    return text.replace("Input should be", "should be").partition(", unable to parse")[0].partition(", got ")[0]


def complaints(model: type[BaseModel], error: ValidationError) -> list[str]:
    """One sentence for each key that pydantic refuses; the branches of a union are joined."""
    refusals: dict[str, list[tuple[str, str]]] = {}
    for detail in error.errors(include_url=False):
        key = _key(model, detail["loc"])
        if detail["type"] == "extra_forbidden":
            try:
                locate(model, key)
            except UserError as unknown:
                refusals.setdefault(str(unknown), [])
            continue
        whole_section = isinstance(detail["input"], Mapping | BaseModel) or not key
        start = f"{key}: " if whole_section and key else "" if not key else f"{key}={detail['input']!r}: "
        refusals.setdefault(start, []).append((detail["type"], _phrase(detail)))
    return [start + _joined(phrases) for start, phrases in refusals.items()]


def _key(model: type[BaseModel], location: Sequence[int | str]) -> str:
    """Dotted key of a pydantic location, without the names of union branches and list positions."""
    parts: list[str] = []
    here: Any = model
    for step in location:
        fields = section_fields(here)
        inner = mapping_value(here)
        if isinstance(step, str) and (step in fields or (fields and step == location[-1])):
            parts.append(step)
            here = annotation_of(fields[step]) if step in fields else Any
        elif isinstance(step, str) and not fields and inner is not NOTHING and step != "[key]":
            parts.append(step)
            here = inner
    return ".".join(parts)
