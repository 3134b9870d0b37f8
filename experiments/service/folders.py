"""Private folders of a service, for uploads and for what else it keeps while it runs.

Only its user can look into them. A service that is killed cannot tidy up, so the next one does: the folders of a living
service are locked, by locks that the kernel takes from a dead process. A folder gets its name only when it is locked:
one that is not is left over.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from datasets.file_locks import close_lock, open_folder_lock, try_exclusive
from experiments.errors import UserError

PREFIX = "ostinato-private-"


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """An empty folder among the temporary files (`TMPDIR`), deleted with what is in it at the end.

    Raises:
        UserError: It cannot be made.
    """
    above = Path(tempfile.gettempdir())
    remove_stale(above)
    try:
        made = Path(tempfile.mkdtemp(prefix="ostinato-new-", dir=above))
        folder, lock = above / f"{PREFIX}{made.name.rpartition('-')[2]}", open_folder_lock(made)
        try_exclusive(lock)
        made.rename(folder)
    except OSError as error:
        raise UserError(
            f"{above}: no folder can be made there ({error.strerror}); another place is named by the variable TMPDIR"
        ) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        close_lock(lock)


def remove_stale(above: Path) -> None:
    """Delete what services of this user left that were killed."""
    for folder in above.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another service tidies up too
            about = folder.lstat()
            if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
                continue
            if not _is_locked(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_locked(folder: Path) -> bool:
    """Whether a service lives in a folder; where the file system knows no locks, one may."""
    lock = open_folder_lock(folder)
    try:
        return not try_exclusive(lock)
    finally:
        close_lock(lock)
