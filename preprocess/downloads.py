"""The audio of published corpora from its hosts: resumable, checked, and with a way out where a host is gone."""

from __future__ import annotations

import os
import urllib.error
from collections.abc import Callable, Sequence
from pathlib import Path

from datasets.corpora import Definition, Item
from datasets.corpora.archives import unpack
from datasets.corpora.base import Archive, CorpusFile
from datasets.corpora.copies import digest, published_sum, verify
from datasets.progress import progress as bar
from datasets.tables import CorpusError
from models.fetching import FAILURES, transfer

Say = Callable[[str], None]


def download(definition: Definition, items: Sequence[Item], data_dir: Path, say: Say, progress: bool = True) -> None:
    """Fetch and unpack what a copy lacks. Whatever is there already, whole and unharmed, is not fetched again.

    Args:
        definition: The corpus.
        items: The recordings wanted.
        data_dir: The user's copy; made if absent.
        say: Takes messages.
        progress: Show bars on standard error.

    Raises:
        CorpusError: A host cannot be reached or has other files; the message says what to put where.
    """
    if not definition.archives and not definition.url:
        raise CorpusError(
            f"{definition.title} cannot be downloaded from here: {advice(definition, items[0], data_dir)}"
        )
    data_dir.mkdir(parents=True, exist_ok=True)
    if not verify(definition, items, data_dir).absent:
        return
    for archive in definition.archives:
        _archive(definition, items, archive, data_dir, say, progress)
    if definition.url:
        lacking = verify(definition, items, data_dir).absent
        _single_files(definition, [item for item in items if item.id in lacking], data_dir, say, progress)


def advice(definition: Definition, example: Item, data_dir: Path) -> str:
    """What a person puts where."""
    place = data_dir / definition.place(example)
    return (
        f"get {definition.source}, and put it, unpacked, into {data_dir}, so that files lie like {place} (folders of "
        f"other names will do)"
    )


def _archive(
    definition: Definition, items: Sequence[Item], archive: Archive, data_dir: Path, say: Say, progress: bool
) -> None:
    paths = [_fetch(definition, items, file, data_dir, say, progress) for file in archive.parts]
    folder = data_dir / archive.into
    packed = sum(path.stat().st_size for path in paths)
    with bar(f"unpacking {paths[0].name}", None, "files", weight=packed, show=progress) as advance:
        written = unpack(paths, folder, lambda read: advance(1, read))
    say(f"{written} files unpacked into {folder}; {', '.join(path.name for path in paths)} can be deleted")


def _fetch(
    definition: Definition, items: Sequence[Item], file: CorpusFile, data_dir: Path, say: Say, progress: bool
) -> Path:
    """A published file in the folder of the copy, there already or downloaded."""
    path = data_dir / file.name
    part = path.with_name(f"{path.name}.part")
    if not path.is_file():
        try:
            transfer(file.url, part, progress=progress)
        except FAILURES as error:
            raise CorpusError(
                f"{file.name} cannot be downloaded from {file.url} ({getattr(error, 'reason', None) or error}). Try "
                f"again to go on where it stopped, put the file into {data_dir} by hand, or "
                f"{advice(definition, items[0], data_dir)}"
            ) from error
    here = part if not path.is_file() else path
    found = digest(here, "sha256")
    if found != file.sha256 and file.promised:
        what = "deleted again" if here == part else "delete it"
        if here == part:
            part.unlink()
        raise CorpusError(f"{here}: has the SHA-256 {found}, {file.name} as published has {file.sha256}; {what}")
    if found != file.sha256:
        say(f"{file.name} has another SHA-256 than once; its host packs it on demand, and promises none")
    if here == part:
        os.replace(part, path)
    return path


def _single_files(definition: Definition, items: Sequence[Item], data_dir: Path, say: Say, progress: bool) -> None:
    """Fetch recordings one by one; one that its host has not got is left out."""
    sums = {
        definition.name_of(path): path for path in sorted(data_dir.rglob("*.md5"))
    }  # unpacked with the archive of annotations
    refused, harmed = [], []
    with bar(definition.title, len(items), "files", show=progress) as advance:
        for number, item in enumerate(items, 1):
            path = data_dir / definition.place(item)
            part = path.with_name(f"{path.name}.part")
            path.parent.mkdir(parents=True, exist_ok=True)
            url = definition.url.format(name=item.name)
            try:
                transfer(url, part, progress=False)
            except urllib.error.HTTPError as error:
                refused.append(f"{url} ({error.code})")
            except FAILURES as error:
                raise CorpusError(
                    f"{url} cannot be downloaded ({getattr(error, 'reason', None) or error}); {number - 1} of "
                    f"{len(items)} files were. Try again to go on, or {advice(definition, items[0], data_dir)}"
                ) from error
            else:
                if item.name in sums and digest(part, "md5") != published_sum(sums[item.name]):
                    harmed.append(url)
                    part.unlink()
                else:
                    os.replace(part, path)
            advance()
    for urls, what in ((refused, "are not there"), (harmed, "have another MD5 than published, and were left out")):
        if urls:
            say(f"{len(urls)} of {len(items)} files {what}, for instance {urls[0]}")
