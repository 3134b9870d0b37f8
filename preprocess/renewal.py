"""A store whose files of audio were replaced or taken away since, made empty so that it is computed anew."""

from __future__ import annotations

from pathlib import Path

from datasets.store import Store
from datasets.store_files import remove_all
from preprocess.files import find
from preprocess.filling import alone
from preprocess.ledger import Ledger
from preprocess.recipes import store_header


def drop_outdated(audio_dir: str | Path, store_dir: str | Path, frontend: str) -> bool:
    """Empty a store of features if it has tracks whose file is another one now, or is not there any more.

    Only the store's own files go; what else lies in its folder stays.

    Returns:
        Whether it was emptied.

    Raises:
        AudioError: No such folder of audio, or no audio in it.
        StoreError: The store is damaged, or has not the features of this front end.
        ValueError: Unknown front end.
    """
    folder, about = Path(store_dir), store_header(frontend)
    if not (folder / "header.json").is_file():
        return False
    found = find(Path(audio_dir))
    with alone(folder):
        stored = set(Store(folder, about.fingerprint, about.kind, about.producer).ids)
        ledger = Ledger(folder)
        changed = any(ledger.changed(file) for file in found.files if file.id in stored)
        if outdated := changed or bool(found.gone(stored)):
            for file in (ledger.skipped_path, ledger.noted_path):  # what was skipped is tried again
                file.unlink(missing_ok=True)
            remove_all(folder)
            ledger.sources_path.unlink(missing_ok=True)  # by it outdated tracks are known, as long as there are any
    return outdated
