"""What decodes a file, in words that another process makes it again from; no pickle, which would run what it says."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

from preprocess.attempts import Decode

PLAIN = (str, int, float, bool, type(None))


def described(decode: Decode) -> str:
    """A function of a module, or a partial of one, as JSON.

    Its arguments are plain values, paths, tuples, dataclasses and pydantic models of such, and front ends without
    parameters.

    Raises:
        TypeError: It is something else.
    """
    function, given, named = (
        (decode.func, decode.args, decode.keywords) if isinstance(decode, partial) else (decode, (), {})
    )
    if "<" in function.__qualname__:
        raise TypeError(f"{function.__qualname__} of {function.__module__} is no function that can be imported")
    call = {
        "module": function.__module__,
        "function": function.__qualname__,
        "arguments": [_word(value) for value in given],
        "keywords": {name: _word(value) for name, value in named.items()},
    }
    return json.dumps(call, sort_keys=True)


@lru_cache(maxsize=32)
def made(text: str) -> Decode:
    """What was described, from the service that started this process; what it needs is imported.

    Raises:
        ValueError: A front end makes other features here.
    """
    call = json.loads(text)
    function = getattr(import_module(call["module"]), call["function"])
    named = {name: _value(word) for name, word in call["keywords"].items()}
    return partial(function, *map(_value, call["arguments"]), **named)


def _word(value: Any) -> Any:
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, tuple):
        return {"tuple": [_word(one) for one in value]}
    kind = type(value)
    if is_dataclass(value):
        held = {field.name: getattr(value, field.name) for field in fields(value)}
    elif hasattr(kind, "model_fields"):
        held = dict(value)
    else:
        return {"front_end": value.description}
    return {"module": kind.__module__, "class": kind.__qualname__, "fields": {k: _word(v) for k, v in held.items()}}


def _value(word: Any) -> Any:
    if not isinstance(word, dict):
        return word
    if "path" in word:
        return Path(word["path"])
    if "tuple" in word:
        return tuple(map(_value, word["tuple"]))
    if "front_end" in word:
        return _front_end(word["front_end"])
    kind = getattr(import_module(word["module"]), word["class"])
    return kind(**{name: _value(field) for name, field in word["fields"].items()})


def _front_end(about: dict[str, Any]) -> Any:
    from models import frontends  # torch, which samples do without
    from models.own_classes import module_of

    own = module_of(about["name"])
    frontend = frontends.build(about["name"], {own} if own else (), **about["arguments"]).eval()
    if frontend.fingerprint != about["fingerprint"]:
        raise ValueError(f"the front end {about['name']} is another one in the decoders")
    return frontend
