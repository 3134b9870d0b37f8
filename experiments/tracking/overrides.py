"""Command-line settings: `a.b=c` read by the type of the key, named configs laid over the defaults, typos named.

Precedence, lowest first: the defaults, the named configs, the assignments from left to right. Of the named configs
those of a system come first and what is composed with any system after them, each from left to right, so that the order
of the words does not matter between the two. Sections are merged key by key; lists and values are replaced.
"""

from __future__ import annotations

import ast
import difflib
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from experiments import renamed
from experiments.configs.named import NamedConfig
from experiments.errors import UserError
from experiments.tracking.masking import for_terminal
from experiments.tracking.schema import NOTHING, complaints, expectations, listed, locate, optional, section_fields

S = TypeVar("S", bound=BaseModel)

_WORDS = {"none": None, "null": None, "true": True, "false": False}


@dataclass(frozen=True)
class Composition(Generic[S]):
    """What a command line asks for.

    Attributes:
        settings: validated settings.
        schema: class with all their keys, where some follow the value of one of them; else that of `settings`.
        named: names of the named configs, in order.
        updates: assignments, dotted key -> plain value.
        delta: keys that differ from the defaults, dotted key -> plain value.
    """

    settings: S
    schema: type[S]
    named: tuple[str, ...]
    updates: dict[str, Any]
    delta: dict[str, Any]


def compose(model: type[S], catalogue: Mapping[str, NamedConfig], tokens: Sequence[str]) -> Composition[S]:
    """Lay the named configs and assignments of a command line over the defaults of `model`.

    Settings whose keys follow the value of one of them have `follows`, the dotted key, and the classmethods
    `following(value)`, which gives a class with all keys, `elsewhere(key)`, for which see `schema.locate`, and
    `implied(given)`, the values that follow where that one is None from the keys in `implying`: they lie over the named
    configs and under the assignments.

    Args:
        model: settings with a default for every key and `extra="forbid"`.
        catalogue: named configs by name.
        tokens: what follows `with`: names and `key=value`.

    Raises:
        UserError: An unknown name or key (the nearest is suggested), or a value that the key does not take.
    """
    named, assignments = split(tokens, catalogue)
    assignments = [(_by_todays_name(model, key, text), text) for key, text in assignments]
    configs = sorted((catalogue[name] for name in named), key=lambda config: not config.system)
    schema, choice, implied = _followed(model, configs, assignments)
    for name in named:
        _check_network(name, catalogue[name], choice)
    defaults = schema()
    values = defaults.model_dump()
    for config in configs:
        for layer in config.layers(choice):
            merge(values, layer)
    for config in configs:
        for other, layer in config.by_scale.items():
            if other in named:
                merge(values, layer)
    merge(values, implied)
    updates: dict[str, Any] = {}
    for key, text in assignments:
        value = read(key, text, locate(schema, key))
        updates[key] = value
        place(values, key, value)
    settings = validated(model, values, named, schema)
    return Composition(settings, schema, tuple(named), updates, delta(settings, defaults))


def _check_network(name: str, config: NamedConfig, network: str | None) -> None:
    """Refuse a named config of other networks, whose keys may mean something else in this one."""
    if config.networks and network not in config.networks:
        chosen = f"the network is {network}" if network else "no network is named"
        raise UserError(f"{name} is for {' and '.join(config.networks)}, and {chosen}: {config.otherwise}")


def _followed(
    model: type[S], configs: Sequence[NamedConfig], assignments: Sequence[tuple[str, str]]
) -> tuple[type[S], Any, dict[str, Any]]:
    """The class with all keys, the value that decides which there are, None where none does, and what is implied."""
    decisive = getattr(model, "follows", None)
    if decisive is None:
        return model, None, {}
    for key, _ in assignments:
        if key.partition(".")[0] != decisive.partition(".")[0]:
            locate(model, key)  # a typo outside of the section is named before anything is imported for it
    values: dict[str, Any] = {}
    for config in configs:
        merge(values, config.values)
    for key, text in assignments:
        if f"{decisive}.".startswith(f"{key}.") or key in model.implying:
            place(values, key, read(key, text, locate(model, key)))
    given = dict(flat(values)) if decisive in dict(flat(values)) else dict(flat(model().model_dump()))
    if given[decisive] is None and (implied := model.implied(values)):
        chosen = dict(flat(implied))[decisive]
        return model.following(chosen), chosen, implied
    return model.following(given[decisive]), given[decisive], {}


def _by_todays_name(model: type[BaseModel], key: str, text: str) -> str:
    """The name that a key has today; one by an earlier name is answered by a line that says so."""
    today = renamed.today(key)
    if today == key or _has(model, key) or not _has(model, today):
        return key
    print(for_terminal(f"{key} has another name now: write {today}={text}"), file=sys.stderr)
    return today


def _has(model: type[BaseModel], key: str) -> bool:
    try:
        locate(model, key)
    except UserError:
        return False
    return True


def validated(model: type[S], values: Mapping[str, Any], named: Sequence[str] = (), schema: type[S] | None = None) -> S:
    """Settings from nested plain values.

    Args:
        model: their class.
        values: nested plain values.
        named: named configs that they are from, for the message.
        schema: class with all keys; see `compose`.

    Raises:
        UserError: Names every key whose value is refused, the value and the expectation.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        hint = f" (named configs: {', '.join(named)})" if named else ""
        raise UserError("; ".join(complaints(schema or model, error)) + hint) from error


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


def read(key: str, text: str, annotation: Any) -> Any:
    """Value of type `annotation` that `text` stands for: as in Python, YAML or JSON, text without quotes.

    Raises:
        UserError: Names the key, the text and what the key takes.
    """
    if section_fields(annotation):
        value = _literal(text)
        if isinstance(value, dict) or (value is None and optional(annotation)):
            return value
        fields = section_fields(annotation)
        raise UserError(f"{key}={text}: {key} is a section; set one of its keys: " + listed(key, fields))
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
    expectation = expectations(refusal) if refusal else "is of the wrong type: true and false are no numbers"
    if optional(annotation) and expectation.startswith("should be") and not expectation.endswith(")"):
        expectation += " or None"
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


def delta(settings: BaseModel, defaults: BaseModel) -> dict[str, Any]:
    """Keys whose value differs from the default, dotted, as plain values."""
    usual = dict(flat(defaults.model_dump(mode="json")))
    found = dict(flat(settings.model_dump(mode="json")))
    gone = {key: None for key in usual if key not in found and not any(k.startswith(f"{key}.") for k in found)}
    return {key: value for key, value in found.items() if usual.get(key, NOTHING) != value} | gone


def _literal(text: str) -> Any:
    """What `text` is in Python, or with braces in YAML and JSON; `NOTHING` where it is nothing in any of them."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return _mappings(text) if text[:1] in ("[", "{") and "{" in text else NOTHING


def _mappings(text: str) -> Any:
    """`{key: value}`, or a list of such, without quotes; `NOTHING` where the braces do not fit."""
    try:
        return _typed(yaml.BaseLoader(text).get_single_data())  # builds texts, lists and dictionaries, nothing else
    except (yaml.YAMLError, RecursionError):
        return NOTHING


def _typed(value: Any) -> Any:
    """Numbers, words such as `true` and texts of what is all text."""
    if isinstance(value, dict):
        return {key: _typed(inner) for key, inner in value.items()}
    return [_typed(inner) for inner in value] if isinstance(value, list) else _element(value)


def _candidates(text: str) -> Iterator[Any]:
    """What `text` may stand for, likeliest first."""
    value = _literal(text)
    if value is None:
        yield None  # never the text "None"
        return
    if value is not NOTHING:
        yield value
    elif text[:1] + text[-1:] in ("[]", "()"):
        yield [_element(part) for part in text[1:-1].split(",") if part.strip()]
    yield text
    if "," in text and text[:1] not in "[(":
        yield [_element(part) for part in text.split(",") if part.strip()]


def _element(part: str) -> Any:
    value = _literal(part.strip())
    return part.strip() if value is NOTHING else value
