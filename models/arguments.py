"""Arguments of constructors as settings: ranges of numbers; names, types, defaults and explanations.

The ranges are plain numbers to Python, checked where a setting is made of an argument.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import operator
import re
import textwrap
import types
import typing
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, lt=1)]  # of dropout and the like

PLAIN = (bool, int, float, str, types.NoneType)
TYPES = "bool, int, float, str, None, Literal, and lists, tuples and dictionaries of these"


def fields_of(kind: type, leave_out: Collection[str] = (), taken: Collection[str] = ()) -> dict[str, Any]:
    """A field for every argument of a constructor, as `pydantic.create_model` takes them.

    Args:
        kind: Class with annotated keyword arguments, explained under `Args:` in its docstring.
        leave_out: Arguments that are no settings.
        taken: Names that settings have already.

    Returns:
        (type, field) by name, in the order of the constructor; `Sequence` and `tuple[x, ...]` become lists.

    Raises:
        ValueError: An argument has no annotation, one that no setting can have, no default, or a name that is taken.
    """
    try:
        hints = typing.get_type_hints(kind.__init__, include_extras=True)
    except (NameError, TypeError) as error:
        raise ValueError(f"{_name(kind)}: an annotation of its constructor cannot be read ({error})") from error
    texts, fields = explanations(kind), {}
    for name, parameter in list(inspect.signature(kind.__init__).parameters.items())[1:]:
        if name in leave_out:
            continue
        where = f"{_name(kind)}: its argument {name}"
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ValueError(f"{where} is not given by name: a setting needs an argument with a name")
        if name not in hints:
            raise ValueError(f"{where} has no annotation: write its type, such as {name}: int = 1")
        if name in taken or name.startswith("_"):
            raise ValueError(f"{where} has a name that settings use already: choose another")
        if parameter.default is parameter.empty:
            raise ValueError(f"{where} has no default: give it one, or list it in `derived` if the data give it")
        try:
            annotation = settable(hints[name])
        except TypeError as error:
            raise ValueError(
                f"{where} is of the type {error}, which no setting can have; there are: {TYPES}"
            ) from error
        fields[name] = (annotation, _field(parameter.default, texts.get(name)))
    return fields


def checked_values(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as a constructor annotates them; one that it has no argument for, or of another type or range, is refused.

    Args:
        kind: See `fields_of`.
        values: By the names of arguments.

    Returns:
        The same, whole numbers for arguments that are floats as floats: what is named by its arguments has one name
        then, whether 10000 was written or 10000.0.

    Raises:
        ValueError: Names the argument, and those that there are; or see `fields_of`.
    """
    fields, checked = fields_of(kind), {}
    for name, value in values.items():
        if name not in fields:
            raise ValueError(f"{name}={value}: no argument of {kind.__name__}; there are: {', '.join(fields)}")
        try:
            checked[name] = TypeAdapter(fields[name][0]).validate_python(value, strict=True)
        except ValidationError as error:
            raise ValueError(f"{name}={value}: {error.errors()[0]['msg']}") from None
    return checked


def settable(annotation: Any) -> Any:
    """The annotation of a setting for that of an argument.

    Raises:
        TypeError: No setting can be of this type, which the message names.
    """
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is None or annotation in PLAIN or origin is Literal:
        return annotation
    if origin is Annotated:
        return Annotated[(settable(inner[0]), *inner[1:])]
    if origin in (typing.Union, types.UnionType):
        return functools.reduce(operator.or_, map(settable, inner))
    if origin in (list, collections.abc.Sequence) or (origin is tuple and inner[1:] == (Ellipsis,)):
        return list[settable(inner[0])]
    if origin is tuple:
        return tuple[tuple(settable(member) for member in inner)]
    if origin in (dict, collections.abc.Mapping) and inner[0] is str:
        return dict[str, settable(inner[1])]
    raise TypeError(inspect.formatannotation(annotation))


def explanations(kind: type) -> dict[str, str]:
    """What a docstring in Google's style says of each argument, as one line without a full stop.

    That is the docstring of the constructor, else of the class, else of the one that it has the constructor from.
    """
    of_classes = (inspect.getdoc(part) for part in kind.__mro__ if "Args:" in (part.__doc__ or ""))
    text = inspect.getdoc(kind.__init__) if kind.__init__.__doc__ else next(of_classes, None)
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", text or "", re.MULTILINE | re.DOTALL)
    texts: dict[str, str] = {}
    name = ""
    for line in textwrap.dedent(section[1]).splitlines() if section else ():
        if start := re.match(r"\*{0,2}(\w+)(?: *\([^)]*\))?: *(.*)", line):
            name = start[1]
            texts[name] = start[2]
        elif name and line.strip():
            texts[name] += f" {line.strip()}"
    return {name: line.removesuffix(".") for name, line in texts.items()}


def _field(default: Any, description: str | None) -> FieldInfo:
    if isinstance(default, tuple | list | dict):
        plain = list(default) if isinstance(default, tuple) else default
        return Field(default_factory=lambda: type(plain)(plain), description=description)
    return Field(default, description=description)


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"
