"""A user's copy of a published corpus: which recording lies where, what is missing, what is damaged.

Files are known by what they are called, wherever below the folder they lie: published archives, mirrors and other
libraries put them into folders of different names, and may have converted them.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePosixPath

from datasets.corpora.base import Definition, Item
from datasets.csv_writing import TableWriter
from datasets.store_files import replace_file
from datasets.system_folders import is_system_folder, leads_above
from datasets.tables import CorpusError

SUFFIXES = (".mp3", ".wav", ".au", ".flac", ".ogg", ".m4a", ".aif", ".aiff", ".opus")  # the first is taken
SUMS = ".md5"
MISSING = "missing"
MOST_ABSENT = 0.05  # share of the recordings of a corpus that may be missing or unreadable, unless more is allowed


@dataclass
class Copy:
    """What there is of a corpus.

    Attributes:
        files: By id of the recording.
        absent: Recordings that cannot be used, and why.
        repeated: How many files were passed over for another of the same recording.
        foreign: How many audio files belong to no recording that is wanted.
    """

    files: dict[str, Path] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    repeated: int = 0
    foreign: int = 0


def verify(definition: Definition, items: Sequence[Item], data_dir: Path, known: Container[str] = ()) -> Copy:
    """Look for recordings below a folder.

    Args:
        definition: The corpus.
        items: The recordings wanted.
        data_dir: The user's copy.
        known: Recordings whose checksum need not be computed.

    Raises:
        CorpusError: No such folder.
    """
    if not data_dir.is_dir():
        what = "a file" if data_dir.exists() else "no such folder"
        raise CorpusError(f"{data_dir}: {what}; give the folder that holds {definition.title}")
    by_name, sums, unlisted = defaultdict(list), {}, []
    for path in _walk(data_dir, unlisted.append):
        name = definition.name_of(path)
        if path.suffix.lower() == SUMS:
            sums[name] = data_dir / path
        else:
            by_name[name].append(path)
    copy, perhaps = Copy(), f"; {_reason(unlisted[0])}, perhaps it lies there" if unlisted else ""
    for item in items:
        if item.refused:
            copy.absent[item.id] = item.refused
            continue
        found = sorted(by_name.pop(item.name, ()), key=_preference)
        if not found:
            copy.absent[item.id] = f"{MISSING}: expected as {definition.place(item)}{perhaps}"
            continue
        copy.repeated += len(found) - 1
        file = data_dir / found[0]
        if reason := _damage(file, None if item.id in known else sums.get(item.name)):
            copy.absent[item.id] = reason
        else:
            copy.files[item.id] = file
    copy.foreign = sum(map(len, by_name.values()))
    return copy


def _walk(data_dir: Path, failed: Callable[[OSError], None]) -> Iterator[PurePosixPath]:
    """Audio files and checksums below a folder, as relative paths.

    A folder that links lead to as well is looked into once, where it really lies if that is below `data_dir`.

    Args:
        data_dir: The folder.
        failed: Told of every folder that cannot be listed.
    """
    seen, waiting = set(), [data_dir]
    while waiting:
        links = []
        for folder, folders, names in chain.from_iterable(os.walk(top, onerror=failed) for top in waiting):
            real = os.path.realpath(folder)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(name for name in folders if not name.startswith(".") and not is_system_folder(name))
            inside = (Path(folder, name) for name in folders)
            links += [path for path in inside if path.is_symlink() and not leads_above(path, data_dir)]
            below = PurePosixPath(Path(folder).relative_to(data_dir).as_posix())
            for name in sorted(names):
                if not name.startswith(".") and name.lower().endswith((*SUFFIXES, SUMS)):
                    yield below / name
        waiting = links


def _preference(path: PurePosixPath) -> tuple[int, int, str]:
    return SUFFIXES.index(path.suffix.lower()), len(path.parts), str(path)


def _damage(file: Path, sum_file: Path | None) -> str:
    """Why a file is not the published one; empty where nothing speaks against it."""
    try:
        if not file.stat().st_size:
            return f"empty file: {file}"
        if sum_file is None or file.suffix.lower() != ".mp3":  # converted files have other bytes
            return ""
        expected = published_sum(sum_file)
        return "" if digest(file, "md5") == expected else f"damaged: {file} has not the MD5 in {sum_file}"
    except OSError as error:  # a link to nowhere, no right to read
        return _reason(error)


def _reason(error: OSError) -> str:
    return f"unreadable: {error.filename}: {error.strerror}"


def published_sum(sum_file: Path) -> str:
    """The first word of a checksum file, in small letters; empty where there is none."""
    return (sum_file.read_text(encoding="utf-8", errors="replace").split() or [""])[0].lower()


def digest(file: Path, algorithm: str) -> str:
    """Checksum of a file, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def write_absent(file: Path, items: Sequence[Item], absent: dict[str, str], protocol: str) -> None:
    """Put a table of what cannot be used in the place of the old one; an empty one is not kept."""
    if not absent:
        file.unlink(missing_ok=True)
        return
    rows = [(item.id, item.rows[protocol].split if protocol in item.rows else "", absent[item.id]) for item in items
            if item.id in absent]  # fmt: skip
    write_rows(file, ("id", "split", "reason"), rows)


def write_rows(file: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table aside, then put it in place."""
    text = io.StringIO()
    writer = TableWriter(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    replace_file(file, text.getvalue().encode())
