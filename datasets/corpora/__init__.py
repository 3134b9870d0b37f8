"""Published corpora: one file a corpus, one row here.

`find("gtzan").corpus()` gives tracks, splits and annotations; `python -m preprocess gtzan DATA_DIR STORE_DIR` turns a
copy of the audio into a store with its tables. A new corpus is one file beside this one and one row in `CORPORA`.
"""

from __future__ import annotations

import difflib

from datasets.corpora import emomusic, giantsteps, gtzan, jamendo, magnatagatune
from datasets.corpora.base import Definition, Item, ProtocolRow
from datasets.tables import CorpusError

CORPORA: dict[str, Definition] = {
    one.name: one
    for one in (
        magnatagatune.MTT,
        gtzan.GTZAN,
        giantsteps.KEY,
        giantsteps.MTG_KEY,
        emomusic.EMOMUSIC,
        jamendo.JAMENDO,
    )
}


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
