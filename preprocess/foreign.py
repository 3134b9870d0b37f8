"""Features that another program computed into a store of embeddings, so that they are probed as any others are."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from datasets.corpora import CORPORA
from datasets.matching import match_tracks
from datasets.progress import progress as bar
from datasets.store import Header, Store, StoreWriter
from datasets.tables import CorpusError
from models.fingerprint import fingerprint
from preprocess.files import AudioFiles, Candidate, find, storable
from preprocess.filling import alone
from preprocess.ledger import Ledger
from preprocess.vector_files import ForeignError, ForeignVectors, open_vectors


@dataclass
class Imported:
    """What became of the vectors.

    Attributes:
        store: Folder of the store.
        size: Values of a vector.
        written: Tracks added in this run.
        already: Tracks that were in the store before.
        unmatched: Ids that match no audio, with the reason.
        without_vectors: Audio that no vector is of.
        passed_over: Columns of a table that hold texts.
    """

    store: Path
    size: int = 0
    written: int = 0
    already: int = 0
    unmatched: list[tuple[str, str]] = field(default_factory=list)
    without_vectors: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)


def import_features(
    source: str | Path,
    store_dir: str | Path,
    encoder: str | None = None,
    layout: str | None = None,
    audio: str | Path | None = None,
    corpus: str | None = None,
    id_column: str | None = None,
    columns: Sequence[str] | None = None,
    block: int | None = None,
    max_unmatched: float = 0.0,
    progress: bool = True,
) -> Imported:
    """Put vectors into a store `[rows, 1, values]` of float32, one row a track or several.

    Killed at any moment, the same call goes on. Tracks that the store has already are compared with the source.

    Args:
        source: What another program wrote, as `vector_files.open_vectors` takes it.
        store_dir: The store; made, or added to.
        encoder: Name of what computed the vectors; None: the name of the source.
        layout: Key of `vector_files.LAYOUTS`; None: by suffix.
        audio: Folder of audio, or a store of its features: tracks get its ids, which are found by the file's name.
        corpus: A published corpus (key of `datasets.corpora.CORPORA`), whose vectors have jukemir's ids.
        id_column: Of a table.
        columns: The values of a table.
        block: Of the network that the vectors are from.
        max_unmatched: Share of the vectors that may belong to no audio, or to no recording of the corpus.
        progress: Show a bar with the time left on standard error.

    Raises:
        ForeignError: As `open_vectors`; vectors of several lengths or with values that are not finite, more unmatched
            ids than allowed, or others than the store has under the same ids.
        StoreError: The store holds something else, or the disk is full; what was done is kept.
    """
    source, report = Path(source), Imported(Path(store_dir))
    if not 0 <= max_unmatched <= 1:
        raise ForeignError(f"max_unmatched={max_unmatched}: give a share of the vectors, 0 to 1")
    if audio is not None and corpus is not None:
        raise ForeignError("--audio and --corpus: ids come from one of them")
    vectors = open_vectors(source, layout, id_column, columns)
    named = _named(vectors, audio, corpus, max_unmatched, report)
    first = next(array for id, array, _ in vectors if id in named)
    report.size, report.passed_over = first.shape[1], list(getattr(vectors, "texts", ()))
    header = _header(vectors, encoder or storable(source.resolve().stem), report.size, block)
    with alone(report.store), StoreWriter(report.store, header) as writer:
        _list_unmatched(report)
        stored = Store(report.store) if writer.done else None
        with bar("vectors", len(named), "tracks", show=progress) as advance:
            for id, array, file in vectors:
                if id not in named:
                    continue
                _check(id, array, report.size, vectors)
                if named[id] in writer.done:
                    _check_same(named[id], array, stored, source)
                    report.already += 1
                else:
                    writer.append(named[id], array[:, None, :], file)
                    report.written += 1
                advance()
    return report


def _header(vectors: ForeignVectors, encoder: str, size: int, block: int | None) -> Header:
    producer: dict[str, Any] = {
        "encoder": encoder,
        "source": f"{vectors.layout}: {storable(vectors.path.resolve().name)}",
        "values": size,
        "tokens": [""],
    }
    if block is not None:
        producer["block"] = block
    return Header("embeddings", (1, size), "float32", "as imported", producer, fingerprint(producer))


def _named(
    vectors: ForeignVectors, audio: str | Path | None, corpus: str | None, most: float, report: Imported
) -> Mapping[str, str]:
    """The stored id of every vector that has one; the others are in the report.

    Raises:
        ForeignError: Too many have none.
    """
    if audio is None and corpus is None:
        return {id: id for id in vectors.ids}
    if corpus is not None:
        named, known, where = _by_corpus(vectors.ids, corpus), None, CORPORA[corpus].title
    else:
        known, where = _audio_ids(Path(audio)), str(audio)
        try:
            matched = match_tracks(vectors.ids, known)
            named, report.without_vectors = dict(matched.stored), list(matched.without_labels)
        except CorpusError:
            named = {}
    unmatched = [id for id in vectors.ids if id not in named]
    report.unmatched = [(id, f"no audio of that name in {where}") for id in unmatched]
    if unmatched and (len(unmatched) / len(vectors.ids) > most or not named):
        near = _nearest(unmatched[0], known) if known else f"ids are such as {_example(corpus)!r}"
        raise ForeignError(
            f"{vectors.path}: {len(unmatched)} of {len(vectors.ids)} vectors match nothing in {where}, one is "
            f"{unmatched[0]!r}; {near}. Name the files alike, or leave such vectors out with --max-unmatched=SHARE"
        )
    return named


def _by_corpus(ids: Sequence[str], corpus: str) -> dict[str, str]:
    """jukemir's ids to ours: a clip number or a hash of the file's name, with the number of the clip behind it."""
    if CORPORA[corpus].metadata:
        raise ForeignError(f"--corpus {corpus}: jukemir has no features of it; give the audio with --audio")
    ours = {item.jukemir: item.id for item in CORPORA[corpus].items() if item.jukemir}
    named = {}
    for id in ids:
        recording, dash, clip = PurePosixPath(id).name.rpartition("-")
        whole = PurePosixPath(id).name
        if whole in ours:
            named[id] = ours[whole]
        elif recording in ours and clip.isdecimal():
            named[id] = f"{ours[recording]}{dash}{clip}"
    return named


def _example(corpus: str | None) -> str:
    return next((item.jukemir for item in CORPORA[corpus].items() if item.jukemir), "") if corpus else ""


def _audio_ids(audio: Path) -> list[str]:
    if (audio / "header.json").is_file():
        return Store(audio).ids
    return [one.id for one in find(audio).files]


def _nearest(id: str, known: Sequence[str]) -> str:
    by_name = {PurePosixPath(one).stem: one for one in known}
    near = difflib.get_close_matches(PurePosixPath(id).stem, by_name, n=1, cutoff=0.0)
    return f"the nearest there is {by_name[near[0]]!r}" if near else "there is no audio"


def _list_unmatched(report: Imported) -> None:
    ledger = Ledger(report.store)
    ledger.list_folders(AudioFiles())
    for id, reason in report.unmatched:
        ledger.skip(Candidate(id, Path(id)), reason)
    ledger.save()


def _check(id: str, array: np.ndarray, size: int, vectors: ForeignVectors) -> None:
    if array.shape[1] != size:
        raise ForeignError(
            f"{vectors.path}: {id!r} has {array.shape[1]} values, those before it {size}; were two encoders mixed?"
        )
    with np.errstate(over="ignore"):
        broken = np.argwhere(~np.isfinite(array.astype(np.float32)))
    if len(broken):
        row, column = broken[0]
        named = f" ({vectors.columns[column]})" if len(getattr(vectors, "columns", ())) == size else ""
        raise ForeignError(
            f"{vectors.path}: value {column}{named} of {id!r} is {array[row, column]}, {len(broken)} of its values are "
            f"not finite in float32; compute it again, or take the track out"
        )


def _check_same(id: str, array: np.ndarray, stored: Store | None, source: Path) -> None:
    before = stored.read(id)
    if before.shape[0] != len(array) or not np.array_equal(before[:, 0], array.astype(np.float32)):
        raise ForeignError(f"{stored.path} has another vector for {id!r} than {source} has now; give another STORE_DIR")
