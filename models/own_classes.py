"""Classes of the user's own, named as `package.module:Class`: only modules that the user named are imported."""

from __future__ import annotations

import importlib
import re
from collections.abc import Collection
from typing import TypeVar

Base = TypeVar("Base")
NAME = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<attribute>[^\W\d]\w*)")


def import_class(name: str, base: type[Base], allowed: Collection[str] = (), setting: str = "") -> type[Base]:
    """Import a class.

    Args:
        name: `package.module:Class`.
        base: What it must be a subclass of.
        allowed: Modules that may be imported: importing one runs it, so a name that stands in a file is not enough.
        setting: Where the user can name it, such as `model.network`; for messages.

    Raises:
        ValueError: The name has another form, its module is not allowed, or there is no such class in it.
    """
    named = NAME.fullmatch(name)
    if named is None:
        raise ValueError(f"{name!r:.100} does not name a class: expected package.module:Class")
    module, attribute = named["module"], named["attribute"]
    if module not in allowed:
        where = f"{setting}={name}" if setting else "its name in the settings of the command"
        raise ValueError(
            f"{name} is a class of the module {module}, which is only imported where you name it yourself: "
            f"if you trust that module, add {where} to the command line"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever the module does
        raise ValueError(f"{name} cannot be imported ({type(error).__name__}: {error})") from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(f"{name} is no subclass of {base.__module__}.{base.__qualname__}")
    return found
