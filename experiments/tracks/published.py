"""What a store says of the published corpora in it: their names, their annotations, their numbers of tracks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import plain_json

FILE = "corpus.json"  # in the folder of a store


def corpus_name(base: Path, folder: str, table: str) -> str:
    """The name of a corpus: the published one, and that of its table unless this is just `tracks`.

    Args:
        base: Folder of the audio or store.
        folder: What it is called where nothing is published.
        table: Name of the table.
    """
    published = "+".join(_published(base))
    return published or folder if table == "tracks" else f"{published} {table}".strip()


def version_of(base: Path) -> str:
    """What the annotations of a published corpus are called; empty where only one sort of them is in circulation."""
    return ", ".join(str(facts["annotations"]) for facts in _published(base).values() if facts.get("annotations"))


def published_counts(base: Path, table: str) -> dict[str, int]:
    """Tracks of every split of a table, as published; empty of a corpus that is none, or cut to a list."""
    for facts in _published(base).values():
        for protocol in facts["protocols"].values():
            if protocol.get("table") == f"{table}.csv":
                return {} if facts.get("cut_to") else dict(protocol.get("published", {}))
    return {}


def _published(base: Path) -> dict[str, Mapping[str, Any]]:
    """The entries of `corpus.json`, by name of the corpus."""
    try:
        about = plain_json.parse((base / FILE).read_bytes())
    except (OSError, ValueError):
        about = {}
    entries = about.items() if isinstance(about, dict) else ()
    return {
        name: facts for name, facts in entries if isinstance(facts, dict) and isinstance(facts.get("protocols"), dict)
    }
