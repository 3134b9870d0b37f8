"""Classes found by name: those of this project in a folder of its own, those of a user as `package.module:Class`."""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import os
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TypeVar

Base = TypeVar("Base")
ROOT = Path(__file__).parents[1]
OWN = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<attribute>[^\W\d]\w*)")


def module_of(name: str) -> str | None:
    """The module in `package.module:Class`; None for a name of another form."""
    parts = OWN.fullmatch(name)
    return parts["module"] if parts else None


def import_class(name: str, base: type[Base], allowed: Collection[str] = (), setting: str = "") -> type[Base]:
    """Import a class of the user.

    Importing a module runs it, so that a name which stands in a file is not enough: the user has to name the module.
    It is looked for as Python does, and in the working directory.

    Args:
        name: `package.module:Class`.
        base: What it must be a subclass of.
        allowed: Modules that the user named. Modules of the package that `base` is from need not be.
        setting: Where the user can name it, such as `model.network`; for messages.

    Raises:
        ValueError: The name has another form, its module is not allowed or cannot be imported, or has no such class.
    """
    parts = OWN.fullmatch(name)
    if parts is None:
        raise ValueError(f"{name!r:.100} does not name a class: expected package.module:Class")
    module, attribute = parts["module"], parts["attribute"]
    if module not in allowed and not _is_ours(module, base):
        where = f"{setting}={name}" if setting else "its name in the settings of the command"
        raise ValueError(
            f"{name} is a class of the module {module}, which is only imported where you name it yourself: "
            f"if you trust that module, add {where} to the command line (in Python: allowed={{{module!r}}})"
        )
    loaded = _import(module, name)
    found = getattr(loaded, attribute, None)
    if found is None:
        classes = [key for key, value in vars(loaded).items() if isinstance(value, type) and issubclass(value, base)]
        raise ValueError(f"the module {module} has no class {attribute}{_near(attribute, classes)}")
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(f"{name} is no subclass of {base.__module__}.{base.__qualname__}")
    return found


@functools.cache
def named_classes(folder: str, base: str) -> dict[str, str]:
    """The classes with a name below a folder, found by reading the files without importing them.

    Args:
        folder: Inside the project, such as `models/frontends`.
        base: Name of the class that all of them descend from, in these files.

    Returns:
        `module:Class` by name, of the definitions `class X(base, name="...")`, sorted.
    """
    bases: dict[str, list[str]] = {base: []}
    named: dict[str, tuple[str, str]] = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for definition in _definitions(path):
            bases[definition.name] = [part.id for part in definition.bases if isinstance(part, ast.Name)]
            for keyword in definition.keywords:
                if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
                    named[str(keyword.value.value)] = (module, definition.name)
    kin = {name: found for name, found in named.items() if _descends(found[1], base, bases)}
    return {name: ":".join(found) for name, found in sorted(kin.items())}


def find_class(
    name: str, base: type[Base], folder: str, kind: str, allowed: Collection[str] = (), setting: str = ""
) -> type[Base]:
    """A class by its name in a folder of this project, or one of the user.

    Args:
        name: Of `named_classes`, or `package.module:Class`.
        base: What it must be a subclass of.
        folder: See `named_classes`.
        kind: What the class is called in messages.
        allowed: See `import_class`.
        setting: See `import_class`.

    Raises:
        ValueError: Nothing has this name; or see `import_class`.
    """
    ours = named_classes(folder, base.__name__)
    if name not in ours and OWN.fullmatch(name) is None:
        raise unknown(kind, name, ours)
    return import_class(ours.get(name, name), base, allowed, setting)


def unknown(kind: str, name: str, known: Collection[str]) -> ValueError:
    """The error for a name that nothing has, with the nearest name and all of them."""
    return ValueError(
        f"unknown {kind} {name!r:.100}{_near(name, known)} Valid: {', '.join(known)}, "
        f"or a class of your own as package.module:Class"
    )


def _is_ours(module: str, base: type) -> bool:
    package = base.__module__.partition(".")[0]
    return module.startswith(f"{package}.") and (ROOT / package).is_dir()


def _import(module: str, name: str) -> object:
    folder = os.getcwd()
    if folder not in sys.path and "" not in sys.path:
        sys.path.append(folder)  # last, where it hides nothing; it stays, for what the module imports later
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module != missing and not module.startswith(f"{missing}."):
            raise ValueError(f"{name} cannot be imported: {module} needs {missing}, which is not installed") from error
        raise ValueError(
            f"{name} cannot be imported: there is no module {missing}; "
            f"its folder must be the working directory ({folder}) or on PYTHONPATH"
        ) from error
    except Exception as error:  # whatever the module does
        raise ValueError(f"{name} cannot be imported ({type(error).__name__}: {error})") from error


def _definitions(path: Path) -> Iterator[ast.ClassDef]:
    text = path.read_text(encoding="utf-8")
    if "class " in text:
        yield from (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef))


def _descends(name: str, base: str, bases: dict[str, list[str]]) -> bool:
    return name == base or any(_descends(parent, base, bases) for parent in bases.get(name, []))


def _near(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else "."
