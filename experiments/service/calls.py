"""What decodes a file, in words that another process makes it again from; no pickle, which would run what it says."""

from __future__ import annotations

import json
from functools import lru_cache, partial
from importlib import import_module
from typing import Any

from preprocess.attempts import Decode

PLAIN = (str, int, float, bool, type(None))


def described(decode: Decode) -> str:
    """A function of a module, or a partial of one, as JSON.

    Its arguments are plain values, and front ends without parameters.

    Raises:
        TypeError: It is no function of a module.
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
    return value if isinstance(value, PLAIN) else {"front_end": value.description}


def _value(word: Any) -> Any:
    return _front_end(word["front_end"]) if isinstance(word, dict) else word


def _front_end(about: dict[str, Any]) -> Any:
    from models import frontends  # torch, which samples do without
    from models.own_classes import module_of

    own = module_of(about["name"])
    frontend = frontends.build(about["name"], {own} if own else (), **about["arguments"]).eval()
    if frontend.fingerprint != about["fingerprint"]:
        raise ValueError(f"the front end {about['name']} is another one in the decoders")
    return frontend
