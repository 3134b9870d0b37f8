"""Command-line settings: `a.b=c` read by the type of the key, named configs laid over the defaults, typos named.

Precedence, lowest first: the defaults, the named configs from left to right, the assignments from left to right.
Sections are merged key by key; lists and values are replaced.
"""

from __future__ import annotations

import ast
import difflib
import functools
import inspect
import io
import math
import textwrap
import tokenize
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from experiments.configs.named import NamedConfig
from experiments.errors import UserError

S = TypeVar("S", bound=BaseModel)

_WORDS = {"none": None, "null": None, "true": True, "false": False}
_NOTHING = object()


@dataclass(frozen=True)
class Composition(Generic[S]):
    """What a command line asks for.

    Attributes:
        settings: validated settings.
        named: names of the named configs, in order.
        updates: assignments, dotted key -> plain value.
        delta: keys that differ from the defaults, dotted key -> plain value.
    """

    settings: S
    named: tuple[str, ...]
    updates: dict[str, Any]
    delta: dict[str, Any]


def compose(model: type[S], catalogue: Mapping[str, NamedConfig], tokens: Sequence[str]) -> Composition[S]:
    """Lay the named configs and assignments of a command line over the defaults of `model`.

    Args:
        model: settings with a default for every key and `extra="forbid"`.
        catalogue: named configs by name.
        tokens: what follows `with`: names and `key=value`.

    Raises:
        UserError: An unknown name or key (the nearest is suggested), or a value that the key does not take.
    """
    named, assignments = split(tokens, catalogue)
    values = model().model_dump()
    for name in named:
        merge(values, catalogue[name].values)
    updates: dict[str, Any] = {}
    for key, text in assignments:
        value = read(key, text, locate(model, key))
        updates[key] = value
        place(values, key, value)
    settings = validated(model, values, named)
    return Composition(settings, tuple(named), updates, delta(settings))


def validated(model: type[S], values: Mapping[str, Any], named: Sequence[str] = ()) -> S:
    """Settings from nested plain values.

    Raises:
        UserError: Names every key whose value is refused, the value and the expectation.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        hint = f" (named configs: {', '.join(named)})" if named else ""
        raise UserError("; ".join(_complaints(model, error)) + hint) from error


def split(tokens: Sequence[str], catalogue: Mapping[str, NamedConfig]) -> tuple[list[str], list[tuple[str, str]]]:
    """Separate names of named configs from assignments.

    Raises:
        UserError: A name that no named config has, or spaces around `=`.
    """
    named: list[str] = []
    assignments: list[tuple[str, str]] = []
    for position, token in enumerate(tokens):
        if not token:
            continue
        key, equals, text = token.partition("=")
        following = tokens[position + 1] if position + 1 < len(tokens) else ""
        if following.startswith("=") or token == "=":
            raise UserError(f"no spaces around '=': write {token.rstrip('=')}={following.lstrip('=') or 'VALUE'}")
        if not key:
            raise UserError(f"{token}: the key is missing; write key{token}")
        if equals and not text and following and "=" not in following and following not in catalogue:
            raise UserError(f"no spaces around '=': write {key}={following}")
        if equals:
            assignments.append((key.strip(), text.strip()))
        elif token in catalogue:
            named.append(token)
        else:
            raise UserError(
                f"no named config {token!r}{suggestion(token, catalogue)} "
                f"(print_named_configs lists them; a setting is written key=value)"
            )
    return named, assignments


def suggestion(word: str, options: Mapping[str, Any] | Sequence[str]) -> str:
    """`: did you mean 'x'?`, or nothing where no option is near."""
    near = difflib.get_close_matches(word, list(options), n=1, cutoff=0.5)
    return f": did you mean {near[0]!r}?" if near else ""


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
            here = _annotation(fields[part])
        elif (inner := _mapping_value(here)) is not _NOTHING:
            here = inner
        else:
            raise UserError(f"{key}: {walked} is a value, not a section: write {walked}=VALUE")
    return here


def read(key: str, text: str, annotation: Any) -> Any:
    """Value of type `annotation` that `text` stands for: numbers, lists and None as in Python, text without quotes.

    Raises:
        UserError: Names the key, the text and what the key takes.
    """
    if section_fields(annotation):
        value = _literal(text)
        if isinstance(value, dict) or (value is None and _optional(annotation)):
            return value
        fields = section_fields(annotation)
        raise UserError(f"{key}={text}: {key} is a section; set one of its keys: " + _listed(key, fields))
    adapter = TypeAdapter(annotation)
    refusal: ValidationError | None = None
    for candidate in _candidates(text):
        try:
            value = adapter.validate_python(candidate)
        except ValidationError as error:
            refusal = refusal or error
            continue
        if isinstance(candidate, bool) and isinstance(value, int | float) and not isinstance(value, bool):
            continue
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{key}={text}: should be a finite number")
        return adapter.dump_python(value)
    expectation = _expectations(refusal) if refusal else "is of the wrong type: true and false are no numbers"
    raise UserError(f"{key}={text}: {expectation}")


def merge(values: dict[str, Any], other: Mapping[str, Any]) -> None:
    """Lay `other` over `values` in place: dictionaries key by key, everything else replaced."""
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(values.get(key), dict):
            merge(values[key], value)
        else:
            values[key] = deepcopy(dict(value)) if isinstance(value, Mapping) else deepcopy(value)


def place(values: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in nested dictionaries; what stands in the way and is no dictionary is replaced."""
    *above, last = key.split(".")
    for part in above:
        if not isinstance(values.get(part), dict):
            values[part] = {}
        values = values[part]
    merge(values, {last: value})


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested dictionaries as (dotted key, value); an empty dictionary is a leaf."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{path}.")
        else:
            yield path, value


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries of dotted keys; the reverse of `flat`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        place(found, key, value)
    return found


def delta(settings: BaseModel) -> dict[str, Any]:
    """Keys whose value differs from the default, dotted, as plain values."""
    defaults = dict(flat(type(settings)().model_dump(mode="json")))
    found = dict(flat(settings.model_dump(mode="json")))
    gone = {key: None for key in defaults if key not in found and not any(k.startswith(f"{key}.") for k in found)}
    return {key: value for key, value in found.items() if defaults.get(key, _NOTHING) != value} | gone


def descriptions(model: type[BaseModel], prefix: str = "") -> dict[str, str]:
    """What every key means, by dotted key: its description, or else the comment behind it in the source."""
    found: dict[str, str] = {}
    comments = comments_of(model)
    for name, field in model.model_fields.items():
        if said := field.description or comments.get(name):
            found[prefix + name] = said
        for section in _models(field.annotation):
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
        said = {
            token.start[0]: token.string.lstrip("# ")
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT
        }
        for line in ast.parse(source).body[0].body:
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                texts = [said[at] for at in range(line.lineno, line.end_lineno + 1) if at in said]
                found |= {line.target.id: " ".join(texts)} if texts else {}
    return found


def section_fields(annotation: Any) -> dict[str, FieldInfo]:
    """Keys below an annotation; empty for a value."""
    return {name: field for section in _models(annotation) for name, field in section.model_fields.items()}


def _annotation(field: FieldInfo) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """Members of a union, through Annotated; the annotation itself where it is none."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _alternatives(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return tuple(inner for member in typing.get_args(annotation) for inner in _alternatives(member))
    return (annotation,)


def _models(annotation: Any) -> list[type[BaseModel]]:
    return [a for a in _alternatives(annotation) if isinstance(a, type) and issubclass(a, BaseModel)]


def _optional(annotation: Any) -> bool:
    return types.NoneType in _alternatives(annotation)


def _mapping_value(annotation: Any) -> Any:
    for member in _alternatives(annotation):
        if member in (Any, object):
            return Any
        if member is dict or typing.get_origin(member) in (dict, Mapping):
            return (typing.get_args(member) or (Any, Any))[1]
    return _NOTHING


def _literal(text: str) -> Any:
    """Python literal in `text`, `_NOTHING` where there is none."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return _NOTHING


def _candidates(text: str) -> Iterator[Any]:
    """What `text` may stand for, likeliest first."""
    value = _literal(text)
    if value is None:
        yield None  # never the text "None"
        return
    if value is not _NOTHING:
        yield value
    elif text[:1] + text[-1:] in ("[]", "()"):
        yield [_element(part) for part in text[1:-1].split(",") if part.strip()]
    yield text
    if "," in text and text[:1] not in "[(":
        yield [_element(part) for part in text.split(",") if part.strip()]


def _element(part: str) -> Any:
    value = _literal(part.strip())
    return part.strip() if value is _NOTHING else value


def _listed(prefix: str, fields: Mapping[str, FieldInfo]) -> str:
    return ", ".join(f"{prefix}.{name}" if prefix else name for name in fields)


def _unknown(model: type[BaseModel], key: str, walked: str, part: str, fields: Mapping[str, FieldInfo]) -> str:
    """A key that looks alike at this depth, else the same key elsewhere, else one that looks a little alike."""
    before, after = walked + "." if walked else "", key[len(walked) + len(part) + (1 if walked else 0) :]
    last = key.rpartition(".")[2]
    options = (
        [f"{before}{near}{after}" for near in difflib.get_close_matches(part, list(fields), n=1, cutoff=0.6)]
        or [path for path in _paths(model) if path.rpartition(".")[2] == last][:3]
        or [f"{before}{near}{after}" for near in difflib.get_close_matches(part, list(fields), n=1, cutoff=0.45)]
    )
    if options:
        return f"no setting {key!r}: did you mean {' or '.join(options)}?"
    return f"no setting {key!r}; there are: {_listed(walked, fields)}"


def _paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        for section in _models(field.annotation):
            yield from _paths(section, f"{prefix}{name}.")


def _expectations(error: ValidationError) -> str:
    return _joined([(detail["type"], _phrase(detail)) for detail in error.errors(include_url=False)])


def _joined(phrases: Sequence[tuple[str, str]]) -> str:
    """What the branches of a union expect; a check of ours says all, the literal beside it included."""
    checked = any(kind == "value_error" for kind, _ in phrases)
    return " or ".join(dict.fromkeys(text for kind, text in phrases if not (checked and kind == "literal_error")))


def _phrase(detail: Mapping[str, Any]) -> str:
    text = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return text.replace("Input should be", "should be").partition(", unable to parse")[0].partition(", got ")[0]


def _complaints(model: type[BaseModel], error: ValidationError) -> list[str]:
    """One sentence for each key that pydantic refuses; the branches of a union are joined."""
    said: dict[str, list[tuple[str, str]]] = {}
    for detail in error.errors(include_url=False):
        key = _key(model, detail["loc"])
        if detail["type"] == "extra_forbidden":
            try:
                locate(model, key)
            except UserError as unknown:
                said.setdefault(str(unknown), [])
            continue
        whole_section = isinstance(detail["input"], Mapping | BaseModel) or not key
        start = f"{key}: " if whole_section and key else "" if not key else f"{key}={detail['input']!r}: "
        said.setdefault(start, []).append((detail["type"], _phrase(detail)))
    return [start + _joined(phrases) for start, phrases in said.items()]


def _key(model: type[BaseModel], location: Sequence[int | str]) -> str:
    """Dotted key of a pydantic location, without the names of union branches and list positions."""
    parts: list[str] = []
    here: Any = model
    for step in location:
        fields = section_fields(here)
        inner = _mapping_value(here)
        if isinstance(step, str) and (step in fields or (fields and step == location[-1])):
            parts.append(step)
            here = _annotation(fields[step]) if step in fields else Any
        elif isinstance(step, str) and not fields and inner is not _NOTHING and step != "[key]":
            parts.append(step)
            here = inner
    return ".".join(parts)
