"""Published corpora: one file a corpus.

`find("gtzan").corpus()` gives tracks, splits and annotations; `python -m preprocess gtzan DATA_DIR STORE_DIR` turns a
copy of the audio into a store with its tables. A new corpus is one file beside this one with its `Definition`.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from pathlib import Path

from datasets.corpora.base import Definition, Item, ProtocolRow
from datasets.tables import CorpusError


def _definitions() -> dict[str, Definition]:
    """The corpora that the files of this folder define, by name."""
    names = [file.name for file in pkgutil.iter_modules([str(Path(__file__).parent)])]
    modules = [importlib.import_module(f"{__package__}.{name}") for name in names]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, Definition)]
    return {one.name: one for one in found}


CORPORA: dict[str, Definition] = _definitions()


def find(name: str) -> Definition:
    """Look a corpus up by name.

    Raises:
        CorpusError: There is none; the message lists those there are.
    """
    if name not in CORPORA:
        near = difflib.get_close_matches(name, CORPORA, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise CorpusError(f"unknown corpus {name!r}{hint} Valid: {', '.join(CORPORA)}")
    return CORPORA[name]


__all__ = ["CORPORA", "Definition", "Item", "ProtocolRow", "find"]
